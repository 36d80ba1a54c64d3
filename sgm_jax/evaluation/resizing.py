"""Bring images to Inception's size: the two ways in use, which give different distances and must be named."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

SIZE = 299


def tensor_bilinear(images: Shaped[Array, "b h w c"], size: int = SIZE) -> Float[Array, "b size size c"]:
    """Resize as TensorFlow 1 did: bilinear between the two nearest pixels, corners at the origin, no antialiasing.

    Output pixel `i` lies at `i h / size`. This is what the graph of 2015-12-05 does itself, hence what nearly all
    published figures were computed with.

    Args:
        images: of any range.
        size: height and width wanted.
    """
    return _separable(images, size, _bilinear_matrix)


def half_pixel_bilinear(images: Shaped[Array, "b h w c"], size: int = SIZE) -> Float[Array, "b size size c"]:
    """Resize as TensorFlow 2 does: bilinear between pixel centres, without antialiasing."""
    return _separable(images, size, _half_pixel_matrix)


def clean(images: Shaped[Array, "b h w c"], size: int = SIZE) -> Float[Array, "b size size c"]:
    """Resize as Pillow does, bicubic with antialiasing, without rounding to integers and clipped to [0, 255].

    References:
        Parmar et al., "On Aliased Resizing and Surprising Subtleties in GAN Evaluation", 2022.
    """
    return jnp.clip(_separable(images, size, _bicubic_matrix), 0, 255)


RESIZES = {"tensor_bilinear": tensor_bilinear, "half_pixel_bilinear": half_pixel_bilinear, "clean": clean}


def _separable(images, size, matrix):
    rows, columns = (jnp.asarray(matrix(length, size), jnp.float32) for length in images.shape[1:3])
    images = jnp.einsum("rh,bhwc->brwc", rows, images.astype(jnp.float32), precision="highest")
    return jnp.einsum("sw,brwc->brsc", columns, images, precision="highest")


def _bilinear_matrix(length: int, size: int) -> Float[np.ndarray, "size length"]:
    return _between(np.arange(size) * (length / size), length)


def _half_pixel_matrix(length: int, size: int) -> Float[np.ndarray, "size length"]:
    return _between(np.clip((np.arange(size) + 0.5) * (length / size) - 0.5, 0, length - 1), length)


def _between(position: Float[np.ndarray, " size"], length: int) -> Float[np.ndarray, "size length"]:
    """Return the weights of pixels at integers for values at `position`."""
    low = np.floor(position).astype(int)
    matrix = np.zeros((len(position), length))
    rows, share = np.arange(len(position)), position - low
    np.add.at(matrix, (rows, low), 1 - share)
    np.add.at(matrix, (rows, np.minimum(low + 1, length - 1)), share)
    return matrix


def _bicubic_matrix(length: int, size: int) -> Float[np.ndarray, "size length"]:
    """Return Pillow's weights: Keys's kernel with a = -1/2, widened where images shrink, renormalised at the edges."""
    scale = length / size
    width = max(scale, 1.0)
    centre = (np.arange(size) + 0.5) * scale
    # Pillow cuts the window to whole pixels before it weighs them.
    first, last = np.floor(centre - 2 * width + 0.5), np.floor(centre + 2 * width + 0.5)
    pixel = np.arange(length)
    x = np.abs(pixel + 0.5 - centre[:, None]) / width
    kernel = np.where(x < 1, (1.5 * x - 2.5) * x**2 + 1, np.where(x < 2, ((-0.5 * x + 2.5) * x - 4) * x + 2, 0.0))
    kernel *= (pixel >= first[:, None]) & (pixel < last[:, None])
    return kernel / kernel.sum(1, keepdims=True)
