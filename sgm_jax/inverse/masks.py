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


MASKS = {"box": box, "lower_half": lower_half, "random": random, "right_half": right_half}
