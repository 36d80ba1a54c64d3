"""score_sde's checkpoints, PyTorch's and flax's: DDPM, DDPM++ and NCSN++ networks.

Both implementations call the same modules in the same order. PyTorch numbers them in one list, flax by class: so one
list of what is called (`called_modules`) names the parameters of either.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import PyTree

from sgm_jax.convert.names import Parameters, StateDict
from sgm_jax.convert.pretrained import Pretrained
from sgm_jax.labels import DescendingIndex, InterpolatedStep, ScaledTime, Sigma
from sgm_jax.naming import choose
from sgm_jax.networks import UNet
from sgm_jax.networks.resampling import BOX
from sgm_jax.score import AbstractPrediction, Labelled, Noise, Score
from sgm_jax.sde import VE, VP, AbstractSDE, SubVP

REQUIRED = (
    *("model.name", "model.nf", "model.ch_mult", "model.num_res_blocks", "model.attn_resolutions"),
    *("model.sigma_min", "model.sigma_max", "model.beta_min", "model.beta_max", "model.num_scales"),
    *("data.image_size", "data.num_channels", "data.centered", "training.sde", "training.continuous"),
)
OPTIONAL = {
    "model.conditional": True,
    "model.dropout": 0.0,
    "model.resamp_with_conv": True,
    "model.scale_by_sigma": False,
}
# What the class NCSNpp alone reads; for DDPM these are fixed.
NCSNPP = {
    "model.embedding_type": "fourier",
    "model.fir": False,
    "model.fir_kernel": (1, 3, 3, 1),
    "model.fourier_scale": 16.0,
    "model.progressive": "none",
    "model.progressive_combine": "sum",
    "model.progressive_input": "none",
    "model.resblock_type": "biggan",
    "model.skip_rescale": True,
}
DDPM = NCSNPP | {"model.embedding_type": "positional", "model.resblock_type": "ddpm", "model.skip_rescale": False}


def score_sde_pytorch(state_dict: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> Pretrained:
    """Convert the tensors of a network of score_sde_pytorch.

    Its score function has the network's own noise labels: `999 t` for (sub-)VP and `sigma(t)` for VE where
    `training.continuous`; otherwise the indices of the noise levels it was trained on, the nearest one for VE, and for
    VP the one, maybe between two, whose ratio of noise to data is that of `t`.

    Args:
        state_dict: tensors by their names, with or without the prefixes `module.` and `all_modules.`.
        config: the flags by their names, `{"model.nf": 128, ...}` or `{"model": {"nf": 128, ...}, ...}`.

    Raises:
        ValueError: if flags are missing or unknown, or tensors are missing, not used or misshapen.

    References:
        Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, appendix H.
    """
    flags = read_flags(config)
    network, process = make_network(flags), make_process(flags)
    tensors = {}
    for name, array in state_dict.items():
        name = name.removeprefix("module.")
        tensors[f"all_modules.{name}" if name[0].isdigit() else name] = array
    state = StateDict(tensors, ignore=lambda name: name == "sigmas")
    params = {
        name: TAKE[kind](state, f"all_modules.{index}")
        for index, (kind, name) in enumerate(called_modules(network, flags["data.image_size"]))
        if kind in TAKE
    }
    image = jnp.zeros((1, flags["data.image_size"], flags["data.image_size"], flags["data.num_channels"]))
    params = state.finish(unflatten_dict(params, sep="/"), network, jnp.ones(1), image)
    return Pretrained(network, params, *process, dict(config))


def score_sde_flax(params: PyTree, config: Mapping[str, Any]) -> Pretrained:
    """Convert the parameters of a network of score_sde, in flax's layout and automatic names.

    Args:
        params: the tree of parameters, as `flax.serialization.msgpack_restore` finds it at `params_ema`.
        config: the flags, as for `score_sde_pytorch`, in whose names tensors are reported.

    Raises:
        ValueError: if flags are missing or unknown, or tensors are missing, not used or misshapen.
    """
    flags = read_flags(config)
    modules = called_modules(make_network(flags), flags["data.image_size"])
    classes = FLAX_CLASSES | BLOCK_CLASSES[flags["model.name"], flags["model.resblock_type"]]
    names, counts = {}, Counter()
    for index, (kind, _) in enumerate(modules):
        names[f"{classes[kind]}_{counts[classes[kind]]}"] = f"all_modules.{index}"
        counts[classes[kind]] += 1
    state = {}
    for (module, *inner, leaf), array in flatten_dict(params).items():
        array = np.asarray(array)
        if leaf in ("kernel", "weight"):
            array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
        leaf = {"kernel": "weight", "scale": "weight"}.get(leaf, leaf)
        state[".".join([names.get(module, module), *inner, leaf])] = array
    return score_sde_pytorch(state, config)


def read_flags(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags by their full names, those that the class of network does not read at their fixed values.

    Raises:
        ValueError: if flags are missing, or the name of the network is unknown.
    """
    flags: dict[str, Any] = OPTIONAL | flatten_dict(dict(config), sep=".")
    missing = [name for name in REQUIRED if name not in flags]
    if missing:
        raise ValueError(f"config must have all of {', '.join(REQUIRED)}, got one without {', '.join(missing)}")
    name = flags["model.name"]
    return choose("model.name", name, {"ncsnpp": NCSNPP | flags, "ddpm": flags | DDPM})


def make_network(flags: Mapping[str, Any]) -> UNet:
    """Make the U-Net that the flags describe."""
    plain = "conv" if flags["model.resamp_with_conv"] else "filter"
    embeddings = {"fourier": "log_fourier", "positional": "positional"}
    embedding = choose("model.embedding_type", flags["model.embedding_type"], embeddings)
    by_label = "label" if embedding == "log_fourier" else _series(flags)
    return UNet(
        channels=flags["model.nf"],
        multipliers=tuple(flags["model.ch_mult"]),
        blocks=flags["model.num_res_blocks"],
        attention=tuple(flags["model.attn_resolutions"]),
        dropout=flags["model.dropout"],
        skip_scale=2**-0.5 if flags["model.skip_rescale"] else 1.0,
        embedding=embedding if flags["model.conditional"] else "none",
        fourier_scale=float(flags["model.fourier_scale"]),
        resampling=choose("model.resblock_type", flags["model.resblock_type"], {"biggan": "biggan", "ddpm": plain}),
        resample_filter=tuple(flags["model.fir_kernel"]) if flags["model.fir"] else BOX,
        progressive_input=flags["model.progressive_input"],
        progressive_output=flags["model.progressive"],
        progressive_combine=flags["model.progressive_combine"],
        group_size=1 if flags["model.name"] == "ddpm" else 4,
        output_divisor=by_label if flags["model.scale_by_sigma"] else "none",
        data_range=(-1.0, 1.0) if flags["data.centered"] else (0.0, 1.0),
    )


def make_process(flags: Mapping[str, Any]) -> tuple[AbstractSDE, AbstractPrediction]:
    """Make the SDE and the prediction that the flags describe."""
    betas = dict(beta_min=float(flags["model.beta_min"]), beta_max=float(flags["model.beta_max"]))
    sigma_max, sigma_min, count = _series(flags)

    def ve():
        indices = DescendingIndex(count)
        label = Sigma() if flags["training.continuous"] else indices
        return VE(sigma_min=sigma_min, sigma_max=sigma_max), Labelled(Score(), label)

    def vp():
        indices = InterpolatedStep(tuple(ddpm_levels(count=count, **betas).tolist()))
        return VP(**betas), Labelled(Noise(), ScaledTime(999.0) if flags["training.continuous"] else indices)

    def subvp():
        return SubVP(**betas), Labelled(Noise(), ScaledTime(999.0))

    return choose("training.sde", flags["training.sde"], {"vesde": ve, "vpsde": vp, "subvpsde": subvp})()


def ddpm_levels(beta_min: float, beta_max: float, count: int) -> np.ndarray:
    """Return the ratios of noise to data [count] that DDPM's discrete process passes through, ascending.

    References:
        Ho, Jain, Abbeel, Denoising Diffusion Probabilistic Models, 2020, eq. 4.
    """
    betas = np.linspace(beta_min / count, beta_max / count, count)
    return np.sqrt(np.expm1(-np.cumsum(np.log1p(-betas))))


def _series(flags: Mapping[str, Any]) -> tuple[float, float, int]:
    return float(flags["model.sigma_max"]), float(flags["model.sigma_min"]), flags["model.num_scales"]


def called_modules(network: UNet, image_size: int) -> Iterator[tuple[str, str]]:
    """Give kind and name of the network's modules, in the order in which score_sde calls them."""
    between = {"biggan": ("block", "block"), "conv": ("down", "up"), "filter": ("nothing_down", "nothing_up")}
    down, up = between[network.resampling]
    last = len(network.multipliers) - 1
    attended = [image_size >> level in network.attention for level in range(last + 1)]
    if network.embedding == "log_fourier":
        yield "fourier", "embedding/fourier"
    if network.embedding != "none":
        yield "dense", "embedding/dense_0"
        yield "dense", "embedding/dense_1"
    yield "conv", "stem"
    for level in range(last + 1):
        for i in range(network.blocks):
            yield "block", f"down_{level}_block_{i}"
            if attended[level]:
                yield "attention", f"down_{level}_attention_{i}"
        if level != last:
            yield down, f"down_{level}_resample"
            if network.progressive_input != "none":
                kind = "combine" if network.progressive_input == "input_skip" else "down"
                yield kind, f"down_{level}_input"
    yield "block", "middle_block_0"
    yield "attention", "middle_attention"
    yield "block", "middle_block_1"
    for level in reversed(range(last + 1)):
        for i in range(network.blocks + 1):
            yield "block", f"up_{level}_block_{i}"
        if attended[level]:
            yield "attention", f"up_{level}_attention"
        if network.progressive_output == "output_skip" or (network.progressive_output == "residual" and level == last):
            yield "norm", f"up_{level}_output_norm"
            yield "conv", f"up_{level}_output"
        elif network.progressive_output == "residual":
            yield "up", f"up_{level}_output"
        if level:
            yield up, f"up_{level}_resample"
    if network.progressive_output != "output_skip":
        yield "norm", "head_norm"
        yield "conv", "head"


def _nin(state: StateDict, name: str) -> Parameters:
    return {"kernel": state.take(f"{name}.W"), "bias": state.take(f"{name}.b")}


def _attention(state: StateDict, name: str) -> Parameters:
    projections = {part: _nin(state, f"{name}.NIN_{i}") for i, part in enumerate(("query", "key", "value", "out"))}
    return {"norm": state.norm(f"{name}.GroupNorm_0")} | projections


def _block(state: StateDict, name: str) -> Parameters:
    block = {f"norm_{i}": state.norm(f"{name}.GroupNorm_{i}") for i in range(2)}
    block |= {f"conv_{i}": state.conv(f"{name}.Conv_{i}") for i in range(2)}
    if f"{name}.Dense_0.weight" in state:
        block["condition"] = state.dense(f"{name}.Dense_0")
    if f"{name}.Conv_2.weight" in state:
        block["skip"] = state.conv(f"{name}.Conv_2")
    if f"{name}.NIN_0.W" in state:
        skip = _nin(state, f"{name}.NIN_0")
        block["skip"] = skip | {"kernel": skip["kernel"][None, None]}
    return block


def _resampling(state: StateDict, name: str) -> Parameters:
    with_filter = f"{name}.Conv2d_0.weight" in state
    return state.conv(f"{name}.Conv2d_0" if with_filter else f"{name}.Conv_0")


TAKE: dict[str, Callable[[StateDict, str], Parameters]] = {
    "fourier": lambda state, name: {"frequencies": state.take(f"{name}.W")},
    "dense": StateDict.dense,
    "conv": StateDict.conv,
    "norm": StateDict.norm,
    "block": _block,
    "attention": _attention,
    "down": _resampling,
    "up": _resampling,
    "combine": lambda state, name: state.conv(f"{name}.Conv_0"),
}
FLAX_CLASSES = {
    "fourier": "GaussianFourierProjection",
    "dense": "Dense",
    "conv": "Conv",
    "norm": "GroupNorm",
    "down": "Downsample",
    "up": "Upsample",
    "nothing_down": "Downsample",
    "nothing_up": "Upsample",
    "combine": "Combine",
}
BLOCK_CLASSES = {
    ("ddpm", "ddpm"): {"block": "ResnetBlockDDPM", "attention": "AttnBlock"},
    ("ncsnpp", "ddpm"): {"block": "ResnetBlockDDPMpp", "attention": "AttnBlockpp"},
    ("ncsnpp", "biggan"): {"block": "ResnetBlockBigGANpp", "attention": "AttnBlockpp"},
}
