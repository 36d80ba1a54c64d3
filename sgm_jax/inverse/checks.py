"""Checks to make before solving: is the adjoint the adjoint, and is the measurement one?"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sgm_jax.inverse.operator import AbstractLinear, AbstractOperator
from sgm_jax.shapes import PRNGKey


def check_adjoint(key: PRNGKey, operator: AbstractLinear, *, tolerance: float = 1e-4) -> None:
    """Compare `<A x, y>` with `<x, A^T y>` for one random example and measurement.

    Args:
        key: determines both.
        operator: what is checked.
        tolerance: largest difference, relative to `|A x| |y|`.

    Raises:
        ValueError: if they differ by more, or are not finite.
    """
    x_key, y_key = jax.random.split(key)
    x = jax.random.normal(x_key, operator.shape)
    y = jax.random.normal(y_key, operator.measured.shape, operator.measured.dtype)
    seen = operator.forward(x)
    one, other = jnp.vdot(seen, y).real, jnp.vdot(x, operator.adjoint(y))
    # Written so that NaN fails.
    if not bool(jnp.abs(one - other) <= tolerance * jnp.linalg.norm(seen.ravel()) * jnp.linalg.norm(y.ravel())):
        raise ValueError(
            f"adjoint of {type(operator).__name__} must satisfy <A x, y> = <x, A^T y>, got {one:.6g} and {other:.6g}"
        )


def check_measurement(operator: AbstractOperator, y: Array) -> None:
    """Make sure that `y` is one measurement of `operator`.

    Raises:
        ValueError: if its shape or dtype is another, or a recorded entry is not finite.
    """
    expected = operator.measured
    if y.shape != expected.shape:
        raise ValueError(f"y must have the measurement's shape {expected.shape}, got {y.shape}")
    check_kind(y, expected)
    check_finite(operator.record(y))


def check_kind(y: Array, expected: jax.ShapeDtypeStruct) -> None:
    """Make sure that measurements are complex where `expected` is, and real numbers where it is real.

    Raises:
        ValueError: if not.
    """
    kinds = (jnp.complexfloating, jnp.floating)
    if not any(jnp.issubdtype(y.dtype, kind) and jnp.issubdtype(expected.dtype, kind) for kind in kinds):
        raise ValueError(f"y must be of the measurement's kind {expected.dtype}, got {y.dtype}")


def check_finite(recorded: Array) -> None:
    """Make sure that all that is recorded of measurements is finite.

    Raises:
        ValueError: if not.
    """
    if not bool(jnp.all(jnp.isfinite(recorded))):
        raise ValueError("y must be finite wherever it is recorded, got NaN or infinity")
