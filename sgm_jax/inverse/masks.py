"""Masks of known pixels: functions `(key, shape) -> mask` [h, w, 1] for images [h, w, c], 1 where known."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sgm_jax.shapes import PRNGKey

Shape = tuple[int, int, int]


def lower_half(key: PRNGKey, shape: Shape) -> Array:
    """Hide the lower half."""
    return jnp.ones((*shape[:2], 1)).at[shape[0] // 2 :].set(0)


def right_half(key: PRNGKey, shape: Shape) -> Array:
    """Hide the right half."""
    return jnp.ones((*shape[:2], 1)).at[:, shape[1] // 2 :].set(0)


def box(key: PRNGKey, shape: Shape) -> Array:
    """Hide a box in the middle, half as high and wide as the image."""
    height, width = shape[:2]
    mask = jnp.ones((height, width, 1))
    return mask.at[height // 4 : height - height // 4, width // 4 : width - width // 4].set(0)


def random(key: PRNGKey, shape: Shape) -> Array:
    """Hide each pixel with probability three quarters."""
    return jax.random.bernoulli(key, 0.25, (*shape[:2], 1)).astype(jnp.float32)


def free_form(key: PRNGKey, shape: Shape) -> Array:
    """Hide the strokes of a brush a twelfth of the image wide: four broken lines of five points at random."""
    size = jnp.array(shape[:2])
    points = jax.random.uniform(key, (4, 5, 2)) * size
    start, run = points[:, :-1].reshape(-1, 2), jnp.diff(points, axis=1).reshape(-1, 2)
    pixels = jnp.stack(jnp.meshgrid(*(jnp.arange(n) + 0.5 for n in shape[:2]), indexing="ij"), -1)
    offset = pixels[:, :, None] - start
    # The nearest point of a segment, as a share of its length.
    share = jnp.clip(jnp.sum(offset * run, -1) / jnp.maximum(jnp.sum(run**2, -1), 1e-6), 0, 1)
    distance = jnp.linalg.norm(offset - share[..., None] * run, axis=-1).min(-1)
    return (distance > size.max() / 24).astype(jnp.float32)[..., None]


MASKS = {"box": box, "free_form": free_form, "lower_half": lower_half, "random": random, "right_half": right_half}
