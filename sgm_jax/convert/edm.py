"""EDM's checkpoints: DDPM++, NCSN++ and ADM networks inside their four preconditioners."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np

from sgm_jax.convert.denoiser import Denoiser
from sgm_jax.convert.flags import read_flags
from sgm_jax.convert.names import Parameters, StateDict
from sgm_jax.convert.unet import blocks_and_attention, lower_half, residual_block
from sgm_jax.labels import LogLevel, NearestStep, ScaledTime
from sgm_jax.naming import choose
from sgm_jax.networks import UNet
from sgm_jax.score import AbstractPrediction, EDMPreconditioned, Labelled, Noise, ScaledScore
from sgm_jax.sde import EDM, VE, VP, AbstractSDE, Cosine

# The flags of the preconditioners and of the networks, with EDM's defaults.
PRECONDITIONERS = {
    "EDMPrecond": dict(model_type="DhariwalUNet", sigma_min=0.0, sigma_max=float("inf"), sigma_data=0.5),
    "VPPrecond": dict(model_type="SongUNet", beta_d=19.9, beta_min=0.1, M=1000, epsilon_t=1e-5),
    "VEPrecond": dict(model_type="SongUNet", sigma_min=0.02, sigma_max=100.0),
    "iDDPMPrecond": dict(model_type="DhariwalUNet", C_1=0.001, C_2=0.008, M=1000),
}
NETWORKS = {
    "SongUNet": dict(
        model_channels=128,
        channel_mult=(1, 2, 2, 2),
        num_blocks=4,
        attn_resolutions=(16,),
        embedding_type="positional",
        channel_mult_noise=1,
        encoder_type="standard",
        decoder_type="standard",
        resample_filter=(1, 1),
    ),
    "DhariwalUNet": dict(model_channels=192, channel_mult=(1, 2, 3, 4), num_blocks=3, attn_resolutions=(32, 16, 8)),
}
COMMON = dict(
    precond="EDMPrecond",
    img_resolution=...,
    img_channels=...,
    label_dim=0,
    augment_dim=0,
    channel_mult_emb=4,
    dropout=0.1,
)
# Flags of training and of the precision on a GPU.
UNUSED = ("label_dropout", "use_fp16")
BLOCK = dict(norm_0="norm0", conv_0="conv0", condition="affine", norm_1="norm1", conv_1="conv1", skip="skip")
HEAD_CHANNELS = 64  # of the ADM network; a level with fewer channels has no attention


def edm(state_dict: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> Denoiser:
    """Convert the tensors of a network in EDM's layout.

    Args:
        state_dict: tensors by their names in the reference, `model.` first.
        config: the keyword arguments the reference's network was made with, its defaults where one is absent, and
            `precond`, the class of the preconditioner (`EDMPrecond` if absent).

    Returns:
        The network; `apply(sigma, x)` is the denoised image.

    Raises:
        ValueError: if a flag is unknown or its value not supported, or tensors are missing, not used or misshapen.

    References:
        Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, table 1, appendix C.
    """
    precond = config.get("precond", COMMON["precond"])
    defaults = COMMON | choose("precond", precond, PRECONDITIONERS)
    model_type = config.get("model_type", defaults["model_type"])
    flags = read_flags("edm", config, defaults | choose("model_type", model_type, NETWORKS), UNUSED)
    sde, prediction = _preconditioner(flags)
    state = StateDict(state_dict, ignore=lambda name: name.endswith("resample_filter") or name == "u")
    network, params = (_adm if model_type == "DhariwalUNet" else _song)(state, flags)
    if precond == "iDDPMPrecond":
        # The upper half of the channels is the learned variance, which nothing here uses.
        params["head"] = lower_half(params["head"])
    size, channels = flags.img_resolution, flags.img_channels
    example = jnp.zeros(1), jnp.zeros((1, size, size, channels))
    given = {"augment": jnp.zeros((1, flags.augment_dim))} if flags.augment_dim else {}
    return Denoiser(network, state.finish(params, network, *example, **given), sde, prediction, dict(config))


def _preconditioner(flags: SimpleNamespace) -> tuple[AbstractSDE, AbstractPrediction]:
    if flags.precond == "EDMPrecond":
        ends = {"t_min": float(flags.sigma_min)} if flags.sigma_min > 0 else {}
        ends |= {"t_max": float(flags.sigma_max)} if np.isfinite(flags.sigma_max) else {}
        return EDM(**ends), EDMPreconditioned(flags.sigma_data)
    if flags.precond == "VPPrecond":
        sde = VP(beta_min=flags.beta_min, beta_max=flags.beta_min + flags.beta_d, t_min=flags.epsilon_t)
        return sde, Labelled(Noise(), ScaledTime(flags.M - 1.0))
    if flags.precond == "VEPrecond":
        return VE(float(flags.sigma_min), float(flags.sigma_max)), Labelled(ScaledScore(), LogLevel(unit=2.0))
    sde = Cosine(offset=flags.C_2, t_min=1 / flags.M, t_max=1 - 1 / flags.M)
    return sde, Labelled(Noise(), NearestStep(tuple(iddpm_levels(flags.M, flags.C_1, flags.C_2).tolist())))


def iddpm_levels(steps: int = 1000, smallest_ratio: float = 0.001, offset: float = 0.008) -> np.ndarray:
    """Return iDDPM's noise levels [steps], increasing.

    Args:
        steps: number of levels.
        smallest_ratio: bound on the ratio of one step's squared scale of the data to the next one's before it.
        offset: of the cosine schedule.

    References:
        Karras et al., 2022, table 1.
    """
    squared_alpha = np.sin(0.5 * np.pi * np.arange(steps + 1) / steps / (offset + 1)) ** 2
    ratios = np.maximum(squared_alpha[:-1] / squared_alpha[1:], smallest_ratio)
    # 1 + u_j**2 is the product of the inverse ratios from the data on.
    return np.sqrt(1 / np.cumprod(ratios[::-1]) - 1)


def _song(state: StateDict, flags: SimpleNamespace) -> tuple[UNet, Parameters]:
    """Return EDM's DDPM++ or NCSN++ and its parameters."""
    if flags.encoder_type == "residual" and len(flags.resample_filter) < 4:
        raise ValueError(f"resample_filter must be that of NCSN++ for a residual encoder, got {flags.resample_filter}")
    pyramids = {"standard": "none", "residual": "residual", "skip": "input_skip"}
    sizes = _sizes(flags)
    attention = [level for level, size in enumerate(sizes) if size in flags.attn_resolutions]
    network = UNet(
        resample_filter=tuple(flags.resample_filter),
        progressive_input=choose("encoder_type", flags.encoder_type, pyramids),
        progressive_output=choose("decoder_type", flags.decoder_type, {"standard": "none", "skip": "output_skip"}),
        embedding=choose("embedding_type", flags.embedding_type, {name: name for name in ("positional", "fourier")}),
        channel_mult_noise=flags.channel_mult_noise,
        class_embedding="song",
        **_options(flags, attention),
    )

    params = _shared(state, flags, attention, heads=lambda level: 1, attended_up="last")
    pyramid = {"residual": "aux_residual", "skip": "aux_skip"}.get(flags.encoder_type)
    for level, size in enumerate(sizes[1:]):
        if pyramid:
            params[f"down_{level}_input"] = state.conv(f"model.enc.{size}x{size}_{pyramid}")
    outputs = {f"up_{level}_output": size for level, size in enumerate(sizes)}
    for name, size in (outputs if flags.decoder_type == "skip" else {"head": sizes[0]}).items():
        params[f"{name}_norm"] = state.norm(f"model.dec.{size}x{size}_aux_norm")
        params[name] = state.conv(f"model.dec.{size}x{size}_aux_conv")
    if flags.embedding_type == "fourier":
        params["embedding"]["fourier"] = {"frequencies": state.take("model.map_noise.freqs")}
    return network, params


def _adm(state: StateDict, flags: SimpleNamespace) -> tuple[UNet, Parameters]:
    """Return EDM's ADM network and its parameters."""
    widths = [flags.model_channels * multiplier for multiplier in flags.channel_mult]
    if flags.channel_mult[0] != 1:
        raise ValueError(f"channel_mult must begin with 1, got {flags.channel_mult}")
    if widths[-1] < HEAD_CHANNELS:
        raise ValueError(f"the last level must have at least {HEAD_CHANNELS} channels, got {widths[-1]}")
    attended = [size in flags.attn_resolutions for size in _sizes(flags)]
    attention = [level for level, width in enumerate(widths) if attended[level] and width >= HEAD_CHANNELS]
    network = UNet(
        head_channels=HEAD_CHANNELS,
        up_attention="block",
        conditioning="scale_shift",
        skip_projection="channels",
        skip_scale=1.0,
        epsilon=1e-5,
        freq_shift=0,
        embedding_order="cos_sin",
        class_embedding="adm",
        **_options(flags, attention),
    )
    params = _shared(state, flags, attention, heads=lambda level: widths[level] // HEAD_CHANNELS)
    return network, params | {"head_norm": state.norm("model.out_norm"), "head": state.conv("model.out_conv")}


def _options(flags: SimpleNamespace, attention: list[int]) -> dict[str, Any]:
    """Return the network's options that are flags under another name."""
    return dict(
        channels=flags.model_channels,
        multipliers=tuple(flags.channel_mult),
        blocks=flags.num_blocks,
        attention=tuple(_sizes(flags)[level] for level in attention),
        dropout=flags.dropout,
        num_classes=flags.label_dim,
        augment_labels=flags.augment_dim,
        channel_mult_emb=flags.channel_mult_emb,
    )


def _shared(
    state: StateDict,
    flags: SimpleNamespace,
    attention: list[int],
    heads: Callable[[int], int],
    attended_up: str = "each",
) -> Parameters:
    """Return the parameters of embedding, stem, both halves and the middle, alike in all EDM's networks."""
    names = [f"{size}x{size}" for size in _sizes(flags)]

    def place(half, level, i):
        block = {"down": "enc.{}_block{}", "middle": "dec.{}_in{}", "up": "dec.{}_block{}"}[half]
        return "model." + block.format(names[level], i)

    def attend(*where):
        name = place(*where)
        return {
            "norm": state.norm(f"{name}.norm2"),
            **state.projections(f"{name}.qkv", "hcp", heads(where[1])),
            "out": state.pointwise(f"{name}.proj"),
        }

    def resample(half, level):
        target = f"enc.{names[level + 1]}_down" if half == "down" else f"dec.{names[level - 1]}_up"
        return residual_block(state, f"model.{target}", BLOCK)

    params = blocks_and_attention(
        len(names),
        flags.num_blocks,
        attention,
        lambda *where: residual_block(state, place(*where), BLOCK),
        attend,
        resample,
        attended_up,
    )
    embedding = {f"dense_{i}": state.dense(f"model.map_layer{i}") for i in range(2)}
    for title, dim in {"label": flags.label_dim, "augment": flags.augment_dim}.items():
        if dim:
            embedding["classes" if title == "label" else title] = state.dense(f"model.map_{title}")
    return params | {"embedding": embedding, "stem": state.conv(f"model.enc.{names[0]}_conv")}


def _sizes(flags: SimpleNamespace) -> list[int]:
    """Return the height of the images at each level."""
    return [flags.img_resolution >> level for level in range(len(flags.channel_mult))]
