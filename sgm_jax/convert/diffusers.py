"""diffusers' UNet2DModel, with the noise schedule of its scheduler."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np

from sgm_jax.convert.flags import read_flags, require
from sgm_jax.convert.names import Parameters, StateDict
from sgm_jax.convert.pretrained import Pretrained
from sgm_jax.convert.schedules import schedule
from sgm_jax.convert.unet import blocks_and_attention, lower_half, residual_block
from sgm_jax.naming import choose
from sgm_jax.networks import UNet

# The types of a level going down, each with its mirror image going up.
BLOCK_TYPES = {
    "DownBlock2D": "UpBlock2D",
    "AttnDownBlock2D": "AttnUpBlock2D",
    "ResnetDownsampleBlock2D": "ResnetUpsampleBlock2D",
    "SkipDownBlock2D": "SkipUpBlock2D",
    "AttnSkipDownBlock2D": "AttnSkipUpBlock2D",
}
FLAGS = dict(
    sample_size=...,
    in_channels=3,
    out_channels=3,
    center_input_sample=False,
    time_embedding_type="positional",
    time_embedding_dim=None,
    freq_shift=0,
    flip_sin_to_cos=True,
    down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
    mid_block_type="UNetMidBlock2D",
    up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    block_out_channels=(224, 448, 672, 896),
    layers_per_block=2,
    mid_block_scale_factor=1,
    downsample_padding=1,
    downsample_type="conv",
    upsample_type="conv",
    dropout=0.0,
    act_fn="silu",
    attention_head_dim=8,
    norm_num_groups=32,
    attn_norm_num_groups=None,
    norm_eps=1e-5,
    resnet_time_scale_shift="default",
    add_attention=True,
    class_embed_type=None,
    num_class_embeds=None,
    num_train_timesteps=None,
)
BLOCK = dict(
    norm_0="norm1", conv_0="conv1", condition="time_emb_proj", norm_1="norm2", conv_1="conv2", skip="conv_shortcut"
)
# The names of an attention's projections, and those of old checkpoints.
PROJECTIONS = dict(query="to_q", key="to_k", value="to_v", out="to_out.0")
OLD_PROJECTIONS = dict(query="query", key="key", value="value", out="proj_attn")


def diffusers(
    state_dict: Mapping[str, np.ndarray], config: Mapping[str, Any], scheduler: Mapping[str, Any] | None = None
) -> Pretrained:
    """Convert the tensors of a `UNet2DModel`.

    `apply(steps, x)` of the result is the model's own output; its `score_fn` takes the times of a continuous SDE and
    tells a network of discrete steps the step whose noise level is nearest, so that at the levels of the steps it is
    exactly the model's estimate for that step.

    Args:
        state_dict: tensors by their names in the reference.
        config: what the model's `config.json` holds, the reference's defaults where a flag is absent.
        scheduler: what `scheduler_config.json` holds; unless given, the reference's defaults of
            `ScoreSdeVeScheduler` for a model with Fourier embeddings and of `DDPMScheduler` for others.

    Raises:
        ValueError: if a flag is unknown or its value not supported, or tensors are missing, not used or misshapen.

    References:
        Ho et al., Denoising Diffusion Probabilistic Models, 2020, appendix B; Song et al., 2021, appendix H.
    """
    flags = read_flags("diffusers", {name: v for name, v in config.items() if not name.startswith("_")}, FLAGS)
    fourier = flags.time_embedding_type == "fourier"
    default = {"_class_name": "ScoreSdeVeScheduler" if fourier else "DDPMScheduler"}
    sde, prediction = schedule(default if scheduler is None else scheduler)
    network = _network(flags)
    state = StateDict(state_dict)
    params = _parameters(state, flags, network)
    example = jnp.ones(1), jnp.zeros((1, _height(flags), _height(flags), flags.in_channels))
    return Pretrained(network, state.finish(params, network, *example), sde, prediction, dict(config))


def _network(flags: SimpleNamespace) -> UNet:
    """Return the network that the flags describe.

    Raises:
        ValueError: if a flag's value is not supported.
    """
    types, widths = flags.down_block_types, tuple(flags.block_out_channels)
    for name in types:
        choose("down_block_types", name, BLOCK_TYPES)
    require("up_block_types", list(flags.up_block_types), [BLOCK_TYPES[name] for name in reversed(types)])
    require("block_out_channels", len(widths), len(types))
    if any(width % widths[0] for width in widths):
        raise ValueError(f"block_out_channels must be multiples of the first, got {widths}")
    skip = {"Skip" in name for name in types}
    if len(skip) > 1:
        raise ValueError(f"down_block_types must be all or none of them with Skip, got {list(types)}")
    (skip,) = skip
    _require_norms(flags, skip)
    require("act_fn", flags.act_fn, "silu", "swish")
    require("mid_block_type", flags.mid_block_type, "UNetMidBlock2D")
    require("add_attention", flags.add_attention, True)
    require("class_embed_type", flags.class_embed_type, None)
    require("downsample_padding", flags.downsample_padding, 0, 1)
    require("out_channels", flags.out_channels, flags.in_channels, 2 * flags.in_channels)
    require("mid_block_scale_factor", round(flags.mid_block_scale_factor**2, 6), 2 if skip else 1)
    emb_width = flags.time_embedding_dim or 4 * widths[0]
    require("time_embedding_dim", emb_width % widths[0], 0)
    embeddings = {"positional": "positional", "fourier": "log_fourier"}
    fourier = choose("time_embedding_type", flags.time_embedding_type, embeddings) == "log_fourier"
    conditionings = {"default": "shift", "scale_shift": "scale_shift"}
    pyramids = dict(progressive_input="input_skip", progressive_output="output_skip", resample_filter=(1, 3, 3, 1))
    plain = dict(skip_scale=1.0, up_attention="block")
    kinds: dict[str, Any] = dict(skip_scale=2**-0.5, **pyramids) if skip else plain
    return UNet(
        channels=widths[0],
        multipliers=tuple(width // widths[0] for width in widths),
        blocks=flags.layers_per_block,
        attention=tuple(_height(flags) >> level for level in _attended(flags)),
        head_channels=flags.attention_head_dim,
        dropout=flags.dropout,
        resampling=_resampling(flags),
        down_padding=(1, 1) if flags.downsample_padding else (0, 1),
        conditioning=choose("resnet_time_scale_shift", flags.resnet_time_scale_shift, conditionings),
        skip_projection="resampled" if skip else "channels",
        groups=flags.norm_num_groups or 32,
        group_size=4 if skip else 1,
        epsilon=flags.norm_eps,
        embedding=embeddings[flags.time_embedding_type],
        embedding_order="cos_sin" if flags.flip_sin_to_cos and not fourier else "sin_cos",
        freq_shift=flags.freq_shift,
        channel_mult_emb=emb_width // widths[0],
        num_classes=flags.num_class_embeds or 0,
        class_embedding="adm",
        output_divisor="label" if fourier else "none",
        data_range=(0.0, 1.0) if flags.center_input_sample else (-1.0, 1.0),
        **kinds,
    )


def _require_norms(flags: SimpleNamespace, skip: bool) -> None:
    """Check that one rule gives the number of groups of every normalisation.

    The blocks with Skip have a group for every four channels, 32 at most, but always 32 around their attention; the
    attention in the middle has none beside "scale_shift" unless told.
    """
    default = flags.norm_num_groups if flags.resnet_time_scale_shift == "default" else None
    middle = default if flags.attn_norm_num_groups is None else flags.attn_norm_num_groups
    if skip:
        attended = [flags.block_out_channels[level] for level in _attended(flags)]
        everywhere = list(flags.block_out_channels) if flags.norm_num_groups else []
        require("norm_num_groups", flags.norm_num_groups, None, 32)
        require("attn_norm_num_groups", middle, flags.norm_num_groups)
        if min([*attended, *everywhere], default=128) < 128:
            raise ValueError(f"block_out_channels must be at least 128 at attention, got {flags.block_out_channels}")
    elif flags.norm_num_groups is None or middle != flags.norm_num_groups:
        raise ValueError(f"norm_num_groups must be a number, the same in the middle's attention, got {middle}")


def _resampling(flags: SimpleNamespace) -> str:
    """Return how the network changes resolution, which must be alike at all levels and both ways."""
    kinds = {"conv": "conv", "resnet": "biggan"}
    down = choose("downsample_type", flags.downsample_type, kinds)
    up = choose("upsample_type", flags.upsample_type, kinds)

    def kind(name, of_attention):
        return of_attention if name.startswith("AttnDown") else "conv" if name == "DownBlock2D" else "biggan"

    # The last level has nothing to go down to, the first one nothing to go up to.
    types = flags.down_block_types
    found = {kind(name, down) for name in types[:-1]} | {kind(name, up) for name in types[1:]}
    if len(found) > 1:
        raise ValueError(
            f"downsample_type and upsample_type must resample as the block types do, got {flags.downsample_type} and "
            f"{flags.upsample_type} with {list(types)}"
        )
    return found.pop() if found else "conv"


def _attended(flags: SimpleNamespace) -> list[int]:
    return [level for level, name in enumerate(flags.down_block_types) if "Attn" in name]


def _height(flags: SimpleNamespace) -> int:
    """Return the height of the images, which tells the levels that have attention."""
    if flags.sample_size is None:
        raise ValueError("sample_size must be given, got None")
    return flags.sample_size if isinstance(flags.sample_size, int) else flags.sample_size[0]


def _parameters(state: StateDict, flags: SimpleNamespace, network: UNet) -> Parameters:
    last = len(network.multipliers) - 1
    skip = network.progressive_input == "input_skip"
    halves = dict(down=lambda level: f"down_blocks.{level}", up=lambda level: f"up_blocks.{last - level}")
    halves["middle"] = lambda level: "mid_block"

    def attend(half, level, i):
        # Those with Skip have one attention a level going up.
        name = f"{halves[half](level)}.attentions.{0 if skip and half == 'up' else i}"
        names = OLD_PROJECTIONS if f"{name}.query.weight" in state else PROJECTIONS
        projections = {part: state.dense(f"{name}.{theirs}") for part, theirs in names.items()}
        return {"norm": state.norm(f"{name}.group_norm")} | projections

    def resample(half, level):
        name = halves[half](level)
        if skip:
            return residual_block(state, f"{name}.resnet_{half}", BLOCK)
        name = f"{name}.{half}samplers.0"
        return state.conv(f"{name}.conv") if network.resampling == "conv" else residual_block(state, name, BLOCK)

    params = blocks_and_attention(
        last + 1,
        network.blocks,
        _attended(flags),
        lambda half, level, i: residual_block(state, f"{halves[half](level)}.resnets.{i}", BLOCK),
        attend,
        resample,
        attended_up="last" if skip else "each",
    )
    embedding = {f"dense_{i}": state.dense(f"time_embedding.linear_{i + 1}") for i in range(2)}
    if network.embedding == "log_fourier":
        embedding["fourier"] = {"frequencies": state.take("time_proj.weight")}
    if network.num_classes:
        embedding["classes"] = {"kernel": state.take("class_embedding.weight")}
    params |= {"embedding": embedding, "stem": state.conv("conv_in")}
    # The finest level's output is the model's own last layer.
    params["up_0_output_norm" if skip else "head_norm"] = state.norm("conv_norm_out")
    params["up_0_output" if skip else "head"] = state.conv("conv_out")
    for level in range(last if skip else 0):
        params[f"down_{level}_input"] = state.conv(f"down_blocks.{level}.skip_conv")
        name = halves["up"](level + 1)
        params[f"up_{level + 1}_output_norm"] = state.norm(f"{name}.skip_norm")
        params[f"up_{level + 1}_output"] = state.conv(f"{name}.skip_conv")
    if flags.out_channels != flags.in_channels:
        params["head"] = lower_half(params["head"])
    return params
