"""Checkpoints of NCSN and NCSNv2: RefineNets that are fed the index of a noise level."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from sgm_jax.convert.names import Parameters, StateDict
from sgm_jax.convert.pretrained import Pretrained
from sgm_jax.labels import NearestLevel
from sgm_jax.naming import choose
from sgm_jax.networks import RefineNet
from sgm_jax.score import Labelled, Score
from sgm_jax.sde import VE


class Layout(NamedTuple):
    """The stages of a network from fine to coarse, with the numbers that the reference's names give them."""

    multipliers: tuple[int, ...]
    dilations: tuple[int, ...]
    stages: tuple[str, ...]
    refinements: tuple[str, ...]


# Each by the stage that those after it lack.
LAYOUTS = {
    "res31": Layout(
        multipliers=(1, 2, 2, 2, 4, 4),
        dilations=(1, 1, 1, 1, 2, 4),
        stages=("res1", "res2", "res3", "res31", "res4", "res5"),
        refinements=("refine5", "refine4", "refine3", "refine31", "refine2", "refine1"),
    ),
    "res5": Layout(
        multipliers=(1, 2, 2, 4, 4),
        dilations=(1, 1, 1, 2, 4),
        stages=("res1", "res2", "res3", "res4", "res5"),
        refinements=("refine5", "refine4", "refine3", "refine2", "refine1"),
    ),
    "res1": Layout(
        multipliers=(1, 2, 2, 2),
        dilations=(1, 1, 2, 4),
        stages=("res1", "res2", "res3", "res4"),
        refinements=("refine4", "refine3", "refine2", "refine1"),
    ),
}
# The flags that count, with their defaults; `...` for those that must be given.
MODEL = dict(ngf=..., num_classes=..., sigma_begin=..., sigma_end=..., sigma_dist="geometric", nonlinearity="elu")
DATA = dict(channels=..., logit_transform=False, rescaled=False)
ACTIVATIONS = {"elu": nn.elu, "lrelu": lambda x: nn.leaky_relu(x, 0.2), "relu": nn.relu, "swish": nn.swish}
SEQUENCES = {"geometric": np.geomspace, "uniform": np.linspace}
# Parameters of InstanceNorm++ here and there, in the order in which NCSN has them side by side.
NORM = {"scale": "gamma", "alpha": "alpha", "bias": "beta"}


def ncsn(state_dict: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> Pretrained:
    """Convert a network of NCSN, NCSNv2, or NCSNv2's deeper and deepest form for 128 and 256 pixels.

    Which of them it is, its layers tell. The network is fed indices of noise levels; the score function is that of the
    VE SDE between the smallest and the largest level, and feeds it the index of the level nearest to the time's.

    Args:
        state_dict: arrays by the reference's names, which may have the prefix "module.".
        config: the reference's config in sections, of which `model` and `data` count.

    Raises:
        ValueError: if tensors are missing, left over or of a wrong shape, or a flag is missing or not known.
    """
    tensors = {name.removeprefix("module."): tensor for name, tensor in state_dict.items()}
    model, data = _flags(config, "model", MODEL), _flags(config, "data", DATA)
    sequence = choose("model.sigma_dist", model["sigma_dist"], SEQUENCES)
    sigmas = sequence(model["sigma_begin"], model["sigma_end"], model["num_classes"])
    _check_levels(tensors.pop("sigmas", sigmas), sigmas)
    levels = tuple(sigmas.tolist())
    present = {name.partition(".")[0] for name in tensors}
    layout = LAYOUTS[next((stage for stage in LAYOUTS if stage in present), "res1")]
    conditional = any(name.endswith(".embed.weight") for name in tensors)
    levels_of: dict[str, Any] = dict(norm_levels=len(levels), pool="average") if conditional else dict(sigmas=levels)
    network = RefineNet(
        channels=model["ngf"],
        multipliers=layout.multipliers,
        dilations=layout.dilations,
        # The reference centres images itself, unless they have been moved out of [0, 1] before.
        data_range=(-1.0, 1.0) if data["logit_transform"] or data["rescaled"] else (0.0, 1.0),
        activation=choose("model.nonlinearity", model["nonlinearity"].lower(), ACTIVATIONS),
        **levels_of,
    )
    state = StateDict(tensors)
    example = jax.ShapeDtypeStruct((1,), jnp.int32), jax.ShapeDtypeStruct((1, 8, 8, data["channels"]), jnp.float32)
    params = state.finish(_params(state, layout, conditional), network, *example)
    sde = VE(sigma_min=levels[-1], sigma_max=levels[0], t_min=0.0)
    return Pretrained(network, params, sde, Labelled(Score(), NearestLevel(levels)), dict(config))


def _params(state: StateDict, layout: Layout, conditional: bool) -> Parameters:
    """Take every tensor by the names that `RefineNet` gives them."""

    def norm(name):
        if not conditional:
            return {ours: state.take(f"{name}.{theirs}") for ours, theirs in NORM.items()}
        table = state.take(f"{name}.embed.weight")
        return dict(zip(NORM, (None,) * 3 if table is None else np.array_split(table, 3, axis=-1), strict=True))

    def residual(name, is_first, halves):
        inner = ".conv" if is_first and halves else ""
        block = {"conv_0": state.conv(f"{name}.conv1"), "conv_1": state.conv(f"{name}.conv2{inner}")}
        block |= {f"norm_{i}": norm(f"{name}.normalize{i + 1}") for i in range(2)}
        return block | ({"skip": state.conv(f"{name}.shortcut{inner}")} if is_first else {})

    def layers(ours, theirs_conv, theirs_norm, numbers):
        """Take a run of convolutions, each with its normalisation before it where there is one."""
        taken = {f"{ours}_conv_{i}": state.conv(theirs_conv.format(number)) for i, number in enumerate(numbers)}
        if conditional:
            taken |= {f"{ours}_norm_{i}": norm(theirs_norm.format(number)) for i, number in enumerate(numbers)}
        return taken

    def units(ours, theirs, count):
        numbers = [f"{i + 1}_{j + 1}" for i in range(count) for j in range(2)]
        return layers(ours, theirs + ".{}_conv", theirs + ".{}_norm", numbers)

    def refinement(name, inputs, count):
        block = units("out", f"{name}.output_convs", count)
        block |= layers("pool", name + ".crp.convs.{}", name + ".crp.norms.{}", range(2))
        if inputs > 1:
            block |= layers("fuse", name + ".msf.convs.{}", name + ".msf.norms.{}", range(inputs))
        for j in range(inputs):
            block |= units(f"adapt_{j}", f"{name}.adapt_convs.{j}", 2)
        return block

    params = {"stem": state.conv("begin_conv"), "head_norm": norm("normalizer"), "head": state.conv("end_conv")}
    last = len(layout.stages) - 1
    for i, (stage, refine, dilation) in enumerate(
        zip(layout.stages, layout.refinements, layout.dilations, strict=True)
    ):
        for j in range(2):
            params[f"stage_{i}_block_{j}"] = residual(f"{stage}.{j}", i > 0 and j == 0, dilation == 1)
        params[f"refine_{i}"] = refinement(refine, 1 if i == last else 2, 1 if i else 3)
    return params


def _flags(config: Mapping[str, Any], section: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags of a section that count.

    Raises:
        ValueError: if one that has no default is missing.
    """
    given = config.get(section, {})
    flags = {name: given.get(name, default) for name, default in defaults.items()}
    missing = [f"{section}.{name}" for name, value in flags.items() if value is ...]
    if missing:
        raise ValueError(f"config must have {', '.join(missing)}, got the {section} flags {', '.join(given) or 'none'}")
    return flags


def _check_levels(stored: NDArray, sigmas: NDArray) -> None:
    if stored.shape != sigmas.shape or not np.allclose(stored, sigmas, rtol=1e-4):
        told = f"{len(sigmas)} from {sigmas[0]:g} to {sigmas[-1]:g}"
        raise ValueError(f"the state_dict's sigmas must be the config's, {told}, got {stored}")
