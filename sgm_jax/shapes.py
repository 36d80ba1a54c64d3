"""Shape aliases used in every signature, and the one broadcasting rule of the library.

Arrays are batched along their first axis; a time or noise level is a scalar or one number an example.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from sgm_jax.partial_batch import rows_of, whole_key

Batch: TypeAlias = Float[Array, "b ..."]
PerExample: TypeAlias = Float[Array, " b"]
Level: TypeAlias = Float[Array, "..."] | Float[np.ndarray, "..."] | np.floating | float
PRNGKey: TypeAlias = Key[Array, ""]
PRNGKeys: TypeAlias = Key[Array, " b"]
ScoreFn: TypeAlias = Callable[[Level, Batch], Batch]


def expand(value: Level, like: Batch) -> Array:
    """Reshape a scalar or [b] `value` so that it broadcasts against `like` [b, ...]."""
    value = jnp.asarray(value, like.dtype)
    return value if value.ndim == 0 else value.reshape(value.shape + (1,) * (like.ndim - value.ndim))


def check_like(call: str, output: Array, x: Batch) -> None:
    """Make sure that what `call` returned has the shape of `x`: what does not could still broadcast.

    Raises:
        ValueError: if not.
    """
    if jnp.shape(output) != x.shape:
        raise ValueError(f"{call} must return an array of the shape of x {x.shape}, got {jnp.shape(output)}")


def check_floating(name: str, x: Batch) -> None:
    """Make sure that data are floating-point numbers.

    Raises:
        ValueError: if not.
    """
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"{name} must be floating-point numbers, as Scaling.to_model makes of bytes, got {x.dtype}")


def check_images(x: Batch) -> None:
    """Make sure that data are images [b, h, w, c].

    Raises:
        ValueError: if not.
    """
    if x.ndim != 4:
        raise ValueError(f"x must be images [b, h, w, c], c 1 for grey ones, got an array of shape {x.shape}")


def sum_per_example(x: Batch) -> PerExample:
    """Sum over every axis but the first."""
    return jnp.sum(x.reshape(x.shape[0], -1), axis=1)


def dimension(x: Batch) -> int:
    """Count the numbers in one example of `x`."""
    return x[0].size


def per_example_keys(key: PRNGKey | PRNGKeys, count: int) -> PRNGKeys:
    """Derive one key an example, so that an example's randomness does not depend on the batch around it.

    Args:
        key: one key, from which example `i` gets `fold_in(key, i)`, or already one key an example.
        count: number of examples.

    Raises:
        ValueError: if `key` is not of `jax.random.key`, or holds neither one key nor `count` keys.
    """
    dtype: Any = getattr(key, "dtype", None)
    if not jnp.issubdtype(dtype, jax.dtypes.prng_key):
        raise ValueError(f"key must be made by jax.random.key, got {getattr(key, 'aval', key)}")
    if key.ndim == 0:
        return jax.vmap(jax.random.fold_in, (None, 0))(whole_key(key), rows_of(key, count)[0])
    if key.shape != (count,):
        raise ValueError(f"key must be one PRNG key or one an example ({count}), got keys of shape {key.shape}")
    return key
