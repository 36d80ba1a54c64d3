"""Change the resolution of images [b, h, w, c]: finite impulse response filters, and patches to channels and back.

Sizes that do not divide are first extended at their ends, so that halving rounds up.
"""

import functools

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

BOX = (1, 1)


def downsample(x: Float[Array, "b h w c"], taps: tuple[int, ...] = BOX) -> Float[Array, "b H W c"]:
    """Halve height and width: filter and keep every second pixel; `BOX` averages 2 x 2 windows.

    Args:
        x: images; an odd size is filled by repeating the edge.
        taps: the filter along either axis, normalised here; beyond the image lie zeros.

    References:
        Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020, appendix B; Zhang, "Making
        Convolutional Networks Shift-Invariant Again", 2019.
    """
    extra = len(taps) - 2
    return blur(pad_to_multiple(x, 2, mode="edge"), taps, ((extra + 1) // 2, extra // 2), stride=2)


def upsample(x: Float[Array, "b h w c"], taps: tuple[int, ...] = BOX) -> Float[Array, "b H W c"]:
    """Double height and width: put zeros between the pixels and filter; `BOX` repeats every pixel.

    Args:
        x: images.
        taps: the filter along either axis, normalised here; beyond the image lie zeros.
    """
    if taps == BOX:  # the same as below, in one operation that needs no memory where it is fused into the next
        b, h, w, c = x.shape
        return jnp.broadcast_to(x[:, :, None, :, None], (b, h, 2, w, 2, c)).reshape(b, 2 * h, 2 * w, c)
    gains = [2 * tap / sum(taps) for tap in taps]
    before = (len(taps) - 1) // 2 + 1
    for axis in (1, 2):
        # Only the taps that fall on pixels, not on the zeros between them, count: one set for each parity.
        padded = pad_axis(x, axis, (before, len(taps) // 2))
        size = x.shape[axis]
        parities = [
            sum(
                gain * lax.slice_in_dim(padded, start := (parity + j + before) // 2, start + size, axis=axis)
                for j, gain in enumerate(gains)
                if (parity + j - before) % 2 == 0
            )
            for parity in range(2)
        ]
        x = jnp.stack(parities, axis=axis + 1).reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
    return x


def blur(
    x: Float[Array, "b h w c"], taps: tuple[int, ...], padding: tuple[int, int], stride: int = 1
) -> Float[Array, "b H W c"]:
    """Correlate both axes with the normalised `taps` after padding with zeros, keeping every `stride`-th pixel."""
    for axis in (1, 2):
        x = pad_axis(x, axis, padding)
        end = x.shape[axis] - len(taps) + 1
        parts = [tap / sum(taps) * lax.slice_in_dim(x, j, j + end, stride, axis) for j, tap in enumerate(taps)]
        x = functools.reduce(jnp.add, parts)
    return x


def before_strided(
    x: Float[Array, "b h w c"], taps: tuple[int, ...], padding: tuple[int, int]
) -> Float[Array, "b H W c"]:
    """Prepare images for a 3 x 3 convolution of stride 2 without padding of its own, which then halves them.

    Args:
        x: images; an odd size is filled by repeating the edge.
        taps: filter to blur with first. `BOX` stands for none, as in DDPM.
        padding: zeros before and after each axis, where there is no blur.
    """
    x = pad_to_multiple(x, 2, mode="edge")
    if taps == BOX:
        return jnp.pad(x, ((0, 0), padding, padding, (0, 0)))
    return blur(x, taps, ((len(taps) + 1) // 2, len(taps) // 2))


def pad_axis(x: Float[Array, "b h w c"], axis: int, padding: tuple[int, int]) -> Float[Array, "b H W c"]:
    """Put zeros before and after one axis."""
    return jnp.pad(x, [padding if i == axis else (0, 0) for i in range(x.ndim)])


def pad_to_multiple(x: Float[Array, "b h w c"], factor: int, mode: str = "constant") -> Float[Array, "b H W c"]:
    """Extend height and width at their ends to the next multiple of `factor`."""
    extra = [(0, -size % factor) for size in x.shape[1:3]]
    return jnp.pad(x, ((0, 0), *extra, (0, 0)), mode=mode) if any(end for _, end in extra) else x


def space_to_depth(x: Float[Array, "b h w c"], factor: int) -> Float[Array, "b H W C"]:
    """Turn every `factor` x `factor` patch into one pixel of `factor**2 * c` channels (padding with zeros)."""
    x = pad_to_multiple(x, factor)
    b, h, w, c = x.shape
    x = x.reshape(b, h // factor, factor, w // factor, factor, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h // factor, w // factor, factor * factor * c)


def depth_to_space(x: Float[Array, "b h w c"], factor: int) -> Float[Array, "b H W C"]:
    """Undo `space_to_depth`."""
    b, h, w, c = x.shape
    x = x.reshape(b, h, w, factor, factor, c // (factor * factor))
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h * factor, w * factor, -1)
