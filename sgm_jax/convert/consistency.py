"""Consistency models and the models they are distilled from: ADM networks in the layout of guided-diffusion."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np

from sgm_jax.convert.denoiser import Denoiser
from sgm_jax.convert.flags import read_flags, require
from sgm_jax.convert.names import Parameters, StateDict
from sgm_jax.convert.unet import blocks_and_attention, lower_half, residual_block
from sgm_jax.labels import LogLevel
from sgm_jax.naming import choose
from sgm_jax.networks import UNet
from sgm_jax.score import ConsistencyPreconditioned, EDMPreconditioned, Labelled
from sgm_jax.sde import EDM

FLAGS = dict(
    image_size=64,
    num_channels=128,
    num_res_blocks=2,
    num_heads=4,
    num_heads_upsample=-1,
    num_head_channels=-1,
    attention_resolutions="32,16,8",
    attention_type="flash",
    channel_mult="",
    dropout=0.0,
    class_cond=False,
    num_classes=1000,
    use_scale_shift_norm=True,
    resblock_updown=False,
    learn_sigma=False,
    sigma_min=0.002,
    sigma_max=80.0,
    distillation=None,
    training_mode=None,
)
# Flags of memory and speed, and of training.
UNUSED = ("use_checkpoint", "use_fp16", "use_new_attention_order", "weight_schedule", "loss_norm")
MULTIPLIERS = {64: (1, 2, 3, 4), 128: (1, 1, 2, 3, 4), 256: (1, 1, 2, 2, 4, 4)}
BLOCK = dict(
    norm_0="in_layers.0",
    conv_0="in_layers.2",
    condition="emb_layers.1",
    norm_1="out_layers.0",
    conv_1="out_layers.3",
    skip="skip_connection",
)
# How the channels of query, key and value are laid out: see `StateDict.projections`.
ATTENTION_AXES = {"flash": "phc", "legacy": "hpc"}


def consistency(state_dict: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> Denoiser:
    """Convert the tensors of a consistency model, or of the EDM model that one is distilled from.

    `apply(sigma, x)` of the result is the consistency function, which takes `x` to the data in one step and is the
    identity at `sigma_min`; `score_fn` is the score function that it would be the denoiser of. With `distillation`
    false, `apply` is the denoiser in EDM's own preconditioner. Either way the network is told `250 log(sigma)`.

    Args:
        state_dict: tensors by their names in the reference.
        config: the reference's flags, its defaults where one is absent. `distillation` or `training_mode` must say
            whether this is a consistency model; `num_classes` (1000) counts with `class_cond`; `attention_type` is
            "flash" as in the published models, or "legacy" for the channels of guided-diffusion.

    Raises:
        ValueError: if a flag is unknown or its value not supported, or tensors are missing, not used or misshapen.

    References:
        Song et al., Consistency Models, 2023, appendix C.
        Dhariwal and Nichol, Diffusion Models Beat GANs on Image Synthesis, 2021, section 3.
    """
    flags = read_flags("consistency", config, FLAGS, UNUSED)
    network = _network(flags)
    state = StateDict(state_dict)
    params = _parameters(state, flags, network)
    example = jnp.zeros(1), jnp.zeros((1, flags.image_size, flags.image_size, 3))
    sde = EDM(float(flags.sigma_min), float(flags.sigma_max))
    inner = ConsistencyPreconditioned(s_min=sde.t_min) if _distilled(flags) else EDMPreconditioned()
    prediction = Labelled(inner, LogLevel(factor=250.0))
    return Denoiser(network, state.finish(params, network, *example), sde, prediction, dict(config))


def _distilled(flags: SimpleNamespace) -> bool:
    if flags.distillation is not None:
        return flags.distillation
    if flags.training_mode is None:
        raise ValueError("config must say by distillation or training_mode whether this is a consistency model")
    return "consistency" in flags.training_mode


def _network(flags: SimpleNamespace) -> UNet:
    multipliers = _numbers(flags.channel_mult) or MULTIPLIERS.get(flags.image_size)
    if not multipliers or multipliers[0] != 1:
        given = f"{flags.channel_mult!r} for image_size {flags.image_size}"
        raise ValueError(f"channel_mult must begin with 1, with a default for image_size 64, 128 and 256, got {given}")
    require("num_heads_upsample", flags.num_heads_upsample, -1, flags.num_heads)
    choose("attention_type", flags.attention_type, ATTENTION_AXES)
    return UNet(
        channels=flags.num_channels,
        multipliers=multipliers,
        blocks=flags.num_res_blocks,
        attention=_numbers(flags.attention_resolutions),
        heads=flags.num_heads,
        head_channels=None if flags.num_head_channels == -1 else flags.num_head_channels,
        up_attention="block",
        dropout=flags.dropout,
        resampling="biggan" if flags.resblock_updown else "conv",
        down_padding=(1, 1),
        conditioning="scale_shift" if flags.use_scale_shift_norm else "shift",
        skip_projection="channels",
        skip_scale=1.0,
        group_size=1,
        epsilon=1e-5,
        freq_shift=0,
        embedding_order="cos_sin",
        num_classes=flags.num_classes if flags.class_cond else 0,
        class_embedding="adm",
    )


def _numbers(listed: str | list[int] | tuple[int, ...]) -> tuple[int, ...]:
    """Return the numbers of a flag, which the reference writes with commas between them."""
    return tuple(int(number) for number in (listed.split(",") if isinstance(listed, str) else listed) if number)


def _parameters(state: StateDict, flags: SimpleNamespace, network: UNet) -> Parameters:
    levels, blocks = len(network.multipliers), network.blocks
    attended = [level for level in range(levels) if flags.image_size >> level in network.attention]
    axes = ATTENTION_AXES[flags.attention_type]

    def place(half, level, i):
        # One number for each block and for each way down; the way up stands with the block before it.
        down, up = 1 + level * (blocks + 1) + i, (levels - 1 - level) * (blocks + 1) + i
        return {"down": f"input_blocks.{down}.", "middle": "middle_block.", "up": f"output_blocks.{up}."}[half]

    def block(half, level, i):
        return residual_block(state, place(half, level, i) + str(2 * i if half == "middle" else 0), BLOCK)

    def attend(half, level, i):
        name = place(half, level, i) + "1"
        width = network.channels * network.multipliers[level]
        heads = width // network.head_channels if network.head_channels else network.heads
        projections = state.projections(f"{name}.qkv", axes, heads)
        return {"norm": state.norm(f"{name}.norm"), **projections, "out": state.pointwise(f"{name}.proj_out")}

    def resample(half, level):
        name = place(half, level, blocks) + str(0 if half == "down" else 1 + (level in attended))
        if network.resampling == "biggan":
            return residual_block(state, name, BLOCK)
        return state.conv(f"{name}.op" if half == "down" else f"{name}.conv")

    params = blocks_and_attention(levels, blocks, attended, block, attend, resample)
    embedding = {f"dense_{i}": state.dense(f"time_embed.{2 * i}") for i in range(2)}
    if network.num_classes:
        embedding["classes"] = {"kernel": state.take("label_emb.weight")}
    params |= {"embedding": embedding, "stem": state.conv("input_blocks.0.0")}
    params |= {"head_norm": state.norm("out.0"), "head": state.conv("out.2")}
    if flags.learn_sigma:
        params["head"] = lower_half(params["head"])
    return params
