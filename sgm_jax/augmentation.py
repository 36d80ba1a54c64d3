"""Augmentation on the device: flips, and EDM's geometric transformations with the labels that tell of them."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgm_jax.shapes import PRNGKey

Images = Float[Array, "b h w c"]
LABELS = 9
SCALE, ASPECT, SHIFT = 2**0.2, 2**0.2, 1 / 8


def identity(key: PRNGKey, x: Array) -> tuple[Array, None]:
    """Leave the data as they are."""
    return x, None


def flip_horizontally(key: PRNGKey, images: Images) -> tuple[Images, None]:
    """Mirror each image left to right with probability one half."""
    mirrored = jax.random.bernoulli(key, shape=(images.shape[0], 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1], images), None


@dataclasses.dataclass(frozen=True)
class Geometric:
    """Flip, scale, rotate, stretch and shift images at random, and return labels of what was done to each.

    Images are mirrored left to right with probability one half. With `augment_probability` each, they are also mirrored
    upside down (every other time), scaled by `2^(0.2 a)`, rotated, stretched by `2^(0.2 a)` along the horizontal or,
    every other time, any axis, and shifted by `a/8` of their size; `a` is standard normal. Beyond their edges images
    go on as their mirror images. Values between pixels are interpolated by cubic convolution, where the paper resamples
    at twice the resolution, so that flips, quarter turns and shifts by whole pixels are exact.

    Args:
        augment_probability: of every transformation but the first.

    References:
        Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, appendix F.2, table 6.
    """

    augment_probability: float = 0.12

    def __post_init__(self):
        if not 0 <= self.augment_probability <= 1:
            raise ValueError(f"augment_probability must be in [0, 1], got {self.augment_probability}")

    def __call__(self, key: PRNGKey, images: Images) -> tuple[Images, Float[Array, "b 9"]]:
        """Return the transformed images and their labels, all 0 for an image that is as it was."""
        parameters = self.draw(key, images.shape[0])
        return transform(images, parameters), parameters.labels()

    def draw(self, key: PRNGKey, count: int) -> "Parameters":
        """Draw what is done to each of `count` images."""
        keys = iter(jax.random.split(key, 14))

        def flag(probability):
            return jax.random.bernoulli(next(keys), probability, (count,)).astype(float)

        def normal():
            return jax.random.normal(next(keys), (count,))

        def angle():
            return jax.random.uniform(next(keys), (count,), minval=-jnp.pi, maxval=jnp.pi)

        p = self.augment_probability
        stretched, shifted = flag(p), flag(p)
        return Parameters(
            mirrored=flag(0.5),
            upside_down=flag(p) * flag(0.5),
            scale=flag(p) * normal(),
            rotation=flag(p) * angle(),
            axis=flag(0.5) * angle(),
            stretch=stretched * normal(),
            right=shifted * normal(),
            down=shifted * normal(),
        )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Parameters:
    """What is done to each of `b` images, in this order; all zeros leave it as it is.

    Args:
        mirrored: 1 where the image is mirrored left to right [b].
        upside_down: 1 where it is mirrored upside down [b].
        scale: enlarged by `2^(0.2 scale)` [b].
        rotation: turned anticlockwise, in radians [b].
        axis: direction along which it is stretched, in radians [b].
        stretch: stretched along it by `2^(0.2 stretch)`, and shrunk as much across [b].
        right: shifted to the right, in eighths of the width [b].
        down: shifted downward, in eighths of the height [b].
    """

    mirrored: Any
    upside_down: Any
    scale: Any
    rotation: Any
    axis: Any
    stretch: Any
    right: Any
    down: Any

    def labels(self) -> Float[Array, "b 9"]:
        """Return the nine numbers an image that networks are told."""
        turn, stretch = self.rotation, self.stretch
        columns = [self.mirrored, self.upside_down, self.scale, jnp.cos(turn) - 1, jnp.sin(turn)]
        columns += [stretch * jnp.cos(self.axis), stretch * jnp.sin(self.axis), self.right, self.down]
        return jnp.stack(columns, axis=1)


def transform(images: Images, parameters: Parameters) -> Images:
    """Transform each image as its parameters say."""
    return jax.vmap(_transform)(images, parameters)


def _transform(image: Float[Array, "h w c"], p: Parameters) -> Float[Array, "h w c"]:
    height, width, _ = image.shape
    middle = jnp.array([(width - 1) / 2, (height - 1) / 2])
    # Coordinates are (right, down) from the middle; the image that is asked for is looked up in the one that is there.
    back = [
        jnp.diag(jnp.stack([1 - 2 * p.mirrored, 1 - 2 * p.upside_down])),
        jnp.eye(2) / SCALE**p.scale,
        _turn(p.rotation),
        _turn(-p.axis) @ jnp.diag(jnp.stack([ASPECT**-p.stretch, ASPECT**p.stretch])) @ _turn(p.axis),
    ]
    matrix = jnp.linalg.multi_dot(back, precision=jax.lax.Precision.HIGHEST)
    shift = SHIFT * jnp.stack([p.right * width, p.down * height])
    grid = jnp.stack(jnp.meshgrid(jnp.arange(width), jnp.arange(height)), axis=-1)
    place = jnp.einsum("ij,hwj->hwi", matrix, grid - middle - shift, precision=jax.lax.Precision.HIGHEST) + middle
    return _interpolate(image, place[..., 0], place[..., 1])


def _turn(angle: Float[Array, ""]) -> Float[Array, "2 2"]:
    """Return the matrix of a rotation that looks clockwise where the second axis points downward."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([jnp.stack([cos, -sin]), jnp.stack([sin, cos])])


def _interpolate(image: Float[Array, "h w c"], x: Float[Array, "h w"], y: Float[Array, "h w"]) -> Float[Array, "h w c"]:
    """Return the image's values at columns `x` and rows `y`."""
    columns, rows = _taps(x, image.shape[1]), _taps(y, image.shape[0])
    parts = [(a * b)[..., None] * image[row, column] for row, a in rows for column, b in columns]
    return functools.reduce(jnp.add, parts)


def _taps(place: Float[Array, "h w"], size: int) -> list[tuple[Array, Array]]:
    """Return the four pixels about each place, mirrored into the image, and their weights.

    References:
        Keys, Cubic Convolution Interpolation for Digital Image Processing, 1981, eq. 15.
    """
    # A place that is a pixel but for rounding is that pixel.
    place = jnp.where(jnp.abs(place - jnp.round(place)) < 1e-4, jnp.round(place), place)
    first = jnp.floor(place)
    part = place - first
    weights = (
        ((-0.5 * part + 1.0) * part - 0.5) * part,
        (1.5 * part - 2.5) * part**2 + 1.0,
        ((-1.5 * part + 2.0) * part + 0.5) * part,
        (0.5 * part - 0.5) * part**2,
    )
    period = 2 * max(size - 1, 1)
    taps = []
    for offset, weight in zip((-1, 0, 1, 2), weights, strict=True):
        pixel = (first.astype(int) + offset) % period
        taps.append((jnp.minimum(pixel, period - pixel), weight))
    return taps
