"""Where a reference keeps the parts of a U-Net -> the parameters of ours."""

from collections.abc import Callable, Collection, Mapping

from sgm_jax.convert.names import Parameters, StateDict

# A place is a half ("down", "middle" or "up"), a level counted from the finest, and the number of a block in it.
Place = Callable[[str, int, int], Parameters]


def residual_block(state: StateDict, name: str, parts: Mapping[str, str]) -> Parameters:
    """Return a residual block, its skip projection where there is one.

    Args:
        state: the tensors.
        name: the block's name in the reference.
        parts: the reference's names of `norm_0`, `conv_0`, `condition`, `norm_1`, `conv_1` and `skip`.
    """
    kinds = dict(norm_0=state.norm, conv_0=state.conv, condition=state.dense, norm_1=state.norm, conv_1=state.conv)
    block = {part: kind(f"{name}.{parts[part]}") for part, kind in kinds.items()}
    skip = f"{name}.{parts['skip']}"
    return block | ({"skip": state.conv(skip)} if f"{skip}.weight" in state else {})


def blocks_and_attention(
    levels: int,
    blocks: int,
    attention: Collection[int],
    block: Place,
    attend: Place,
    resample: Callable[[str, int], Parameters],
    attended_up: str = "each",
) -> Parameters:
    """Return the parameters of the two halves and the middle.

    Args:
        levels: number of levels.
        blocks: residual blocks a level going down, one more going up.
        attention: the levels that have it.
        block: the residual block of a place.
        attend: the attention after it.
        resample: what leads from a level to the next one of its half.
        attended_up: "each" if going up every block of such a level has attention, "last" if only the last one has.
    """
    params = {}
    for level in range(levels):
        attended = level in attention
        for i in range(blocks):
            params[f"down_{level}_block_{i}"] = block("down", level, i)
            if attended:
                params[f"down_{level}_attention_{i}"] = attend("down", level, i)
        for i in range(blocks + 1):
            params[f"up_{level}_block_{i}"] = block("up", level, i)
            if attended and attended_up == "each":
                params[f"up_{level}_attention_{i}"] = attend("up", level, i)
        if attended and attended_up == "last":
            params[f"up_{level}_attention"] = attend("up", level, blocks)
        if level != levels - 1:
            params[f"down_{level}_resample"] = resample("down", level)
        if level != 0:
            params[f"up_{level}_resample"] = resample("up", level)
    for i in range(2):
        params[f"middle_block_{i}"] = block("middle", levels - 1, i)
    return params | {"middle_attention": attend("middle", levels - 1, 0)}


def lower_half(layer: Parameters) -> Parameters:
    """Return the half of a last layer's channels that is the mean, where the other half is a learned variance."""
    return {key: leaf if leaf is None else leaf[..., : leaf.shape[-1] // 2] for key, leaf in layer.items()}
