"""Divergences of vector fields: the trace of a Jacobian, exactly or from random projections."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from sgm_jax.shapes import Batch, PerExample, PRNGKey, PRNGKeys, dimension

Projection = Callable[[PRNGKey, tuple[int, ...]], Array]


# Projections: (key, shape) -> vectors v with E[v v^T] = identity, over all axes of the shape but the first.


def rademacher(key: PRNGKey, shape: tuple[int, ...]) -> Array:
    """Draw random signs [shape]."""
    return jax.random.rademacher(key, shape, jnp.result_type(float))


def gaussian(key: PRNGKey, shape: tuple[int, ...]) -> Array:
    """Draw standard Gaussian numbers [shape]."""
    return jax.random.normal(key, shape)


def sphere(key: PRNGKey, shape: tuple[int, ...]) -> Array:
    """Draw vectors [shape] uniformly on the sphere whose radius is the root of their dimension."""
    v = jax.random.normal(key, shape)
    flat = v.reshape(shape[0], -1)
    return (flat * jnp.sqrt(flat.shape[1]) / jnp.linalg.norm(flat, axis=1, keepdims=True)).reshape(shape)


PROJECTIONS = {"gaussian": gaussian, "rademacher": rademacher, "sphere": sphere}


class Hutchinson(eqx.Module):
    """Estimate the divergence from random projections, drawn once an example and kept through the solve.

    Args:
        probes: number of projections an example; the estimate's variance falls as one over it.
        distribution: `rademacher`, `gaussian` or `sphere`: `(key, shape) -> array`.

    References:
        Hutchinson, A Stochastic Estimator of the Trace of the Influence Matrix, 1989.
        Grathwohl et al., FFJORD, 2019, eq. 7.
    """

    probes: int = 1
    distribution: Projection = rademacher

    def __check_init__(self):
        if self.probes < 1:
            raise ValueError(f"probes must be at least 1, got {self.probes}")

    def vectors(self, keys: PRNGKeys, x: Batch) -> Array:
        """Return the projections [k, b, ...]."""
        return jax.vmap(lambda key: self.distribution(key, (self.probes, *x.shape[1:])), out_axes=1)(keys)

    def combine(self, products: Array) -> PerExample:
        """Combine the quadratic forms [k, b] into the divergence [b]."""
        return jnp.mean(products, axis=0)


class Exact(eqx.Module):
    """Compute the divergence exactly, at the cost of one projection a dimension."""

    def vectors(self, keys: PRNGKeys | None, x: Batch) -> Array:
        """Return the unit vectors [d, b, ...]."""
        size = dimension(x)
        basis = jnp.eye(size, dtype=x.dtype).reshape(size, 1, *x.shape[1:])
        return jnp.broadcast_to(basis, (size, *x.shape))

    def combine(self, products: Array) -> PerExample:
        """Combine the diagonal entries [d, b] into the divergence [b]."""
        return jnp.sum(products, axis=0)


DIVERGENCES = {"hutchinson": Hutchinson(), "exact": Exact()}
