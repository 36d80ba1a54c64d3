"""Checkpoints of NCSN and NCSNv2: RefineNets that are fed the index of a noise level."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sgm_jax.convert.names import Parameters, StateDict
from sgm_jax.convert.pretrained import Pretrained
from sgm_jax.naming import choose
from sgm_jax.networks import RefineNet
from sgm_jax.score import Labelled, NearestLevel, Score
from sgm_jax.sde import VE


class Layout(NamedTuple):
    """The shape of a network, and the numbers in the reference's names of its stages, all fine to coarse."""

    multipliers: tuple[int, ...]
    dilations: tuple[int, ...]
    stages: tuple[str, ...]
    refinements: tuple[str, ...]


# Each by the stage that the ones before lack.
LAYOUTS = {
    "res31": Layout((1, 2, 2, 2, 4, 4), (1, 1, 1, 1, 2, 4), ("1", "2", "3", "31", "4", "5"), tuple("54") + ("3", "31", "2", "1")),
    "res5": Layout((1, 2, 2, 4, 4), (1, 1, 1, 2, 4), tuple("12345"), tuple("54321")),
    "res4": Layout((1, 2, 2, 2), (1, 1, 2, 4), tuple("1234"), tuple("4321")),
}
ACTIVATIONS = {"elu": nn.elu, "relu": nn.relu, "lrelu": lambda x: nn.leaky_relu(x, 0.2), "swish": nn.swish}
SEQUENCES = {"geometric": np.geomspace, "uniform": np.linspace}


def ncsn(state_dict: Mapping[str, np.ndarray], config: Mapping[str, Mapping[str, Any]]) -> Pretrained:
    """Convert a network of NCSN, NCSNv2, its deeper form for 128 pixels or its deepest for 256.

    Which of them it is, is seen from the layers. The score function is that of a VE SDE between the last and the first
    noise level, and feeds the network the index of the level nearest to the time's; `pretrained.apply` is fed indices.

    Args:
        state_dict: arrays by the reference's names, with or without its prefix "module.".
        config: the reference's config, in sections: of `model` are used `ngf`, `num_classes`, `sigma_begin`,
            `sigma_end`, `sigma_dist` and `nonlinearity`, of `data` are used `channels`, `image_size`,
            `logit_transform` and `rescaled`.

    Raises:
        ValueError: if tensors are missing, left over or of a wrong shape, or the config lacks a flag or has a value
            that no published network has.
    """
    tensors = {name.removeprefix("module."): array for name, array in state_dict.items()}
    model, data = _sections(config)
    layout = next((LAYOUTS[stage] for stage in LAYOUTS if f"{stage}.0.conv1.weight" in tensors), LAYOUTS["res4"])
    conditional = any(name.endswith(".embed.weight") for name in tensors)
    sequence = choose("model.sigma_dist", model["sigma_dist"], SEQUENCES)
    sigmas = sequence(model["sigma_begin"], model["sigma_end"], model["num_classes"])
    _check_sigmas(tensors.pop("sigmas", sigmas), sigmas)
    levels = tuple(sigmas.tolist())
    kind = dict(norm_levels=len(levels), pool="average") if conditional else dict(sigmas=levels)
    network = RefineNet(
        channels=model["ngf"],
        multipliers=layout.multipliers,
        dilations=layout.dilations,
        # The reference centres images itself, unless they are no longer in [0, 1].
        data_range=(-1.0, 1.0) if data["logit_transform"] or data["rescaled"] else (0.0, 1.0),
        activation=choose("model.nonlinearity", model["nonlinearity"], ACTIVATIONS),
        **kind,
    )
    state = StateDict(tensors)
    size = data["image_size"]
    image = jax.ShapeDtypeStruct((1, size, size, data["channels"]), jnp.float32)
    params = state.finish(_params(state, layout, conditional), network, jax.ShapeDtypeStruct((1,), jnp.int32), image)
    sde = VE(sigma_min=levels[-1], sigma_max=levels[0], t_min=0.0)
    return Pretrained(network, params, sde, Labelled(Score(), NearestLevel(levels)), dict(config))


def _params(state: StateDict, layout: Layout, conditional: bool) -> Parameters:
    """Take all tensors, by the names that `RefineNet` gives them."""

    def norm(name):
        if not conditional:
            return {ours: state.take(f"{name}.{theirs}") for ours, theirs in NORM.items()}
        table = state.take(f"{name}.embed.weight")
        # Side by side: scale, alpha, bias.
        return dict(zip(NORM, [None] * 3 if table is None else np.array_split(table, 3, axis=-1), strict=True))

    def pooled(name):
        return state.conv(f"{name}.conv" if f"{name}.conv.weight" in state else name)

    def residual(name, new):
        block = {f"norm_{i}": norm(f"{name}.normalize{i + 1}") for i in range(2)}
        block |= {"conv_0": state.conv(f"{name}.conv1"), "conv_1": pooled(f"{name}.conv2")}
        return block | ({"skip": pooled(f"{name}.shortcut")} if new else {})
    ...
