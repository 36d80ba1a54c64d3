"""Divergences of vector fields: the trace of a Jacobian, exactly or from random projections."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgm_jax.naming import choose
from sgm_jax.shapes import Batch, PerExample, PRNGKey, PRNGKeys, dimension, sum_per_example

Projection = Callable[[PRNGKey, tuple[int, ...]], Array]
# The product of each example's Jacobian, or of its transpose, with a vector: both have the same trace.
Product = Callable[[Batch], Batch]


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


class AbstractDivergence(eqx.Module):
    """How the trace of a Jacobian is found from its products with vectors.

    The vectors are drawn once and kept, so that what is integrated along a solve is one smooth function.
    """

    @property
    @abc.abstractmethod
    def count(self) -> int:
        """Number of separate estimates."""

    @abc.abstractmethod
    def vectors(self, keys: PRNGKeys, x: Batch) -> Array:
        """Draw the vectors [k, b, ...] for examples like `x` [b, ...]."""

    @abc.abstractmethod
    def estimates(self, vectors: Float[Array, "k b ..."], product: Product) -> Float[Array, "m b"]:
        """Return separate unbiased estimates of the divergence, `count` of them; their mean is the estimate."""


def standard_error(estimates: Float[Array, "m b"]) -> PerExample | None:
    """Return the standard error [b] of the mean of separate estimates; None for a single one, which tells nothing."""
    if len(estimates) < 2:
        return None
    return jnp.std(estimates, axis=0, ddof=1) / jnp.sqrt(len(estimates))


class Hutchinson(AbstractDivergence):
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
        _check_probes(self.probes)

    @property
    def count(self) -> int:
        return self.probes

    def vectors(self, keys: PRNGKeys, x: Batch) -> Array:
        return jax.vmap(lambda key: self.distribution(key, (self.probes, *x.shape[1:])), out_axes=1)(keys)

    def estimates(self, vectors: Float[Array, "k b ..."], product: Product) -> Float[Array, "m b"]:
        return _quadratic_forms(vectors, product)


class HutchPlusPlus(AbstractDivergence):
    """Compute the trace exactly on the range of a random sketch, and estimate what is left by random projections.

    Three products a probe: the sketch, its orthonormal basis, and projections uniform on the sphere in the basis'
    complement, on which multiples of the identity add no variance. Exact for Jacobians of rank `probes` or less, and
    much better than `Hutchinson` where few eigenvalues are large. The standard error is that given the sketch.

    Args:
        probes: vectors in the sketch, and projections: each of the two.

    References:
        Meyer, Musco, Musco, Woodruff, Hutch++: Optimal Stochastic Trace Estimation, 2021, algorithm 1.
        Epperly, Tropp, Webber, XTrace: Making the Most of Every Sample in Stochastic Trace Estimation, 2024,
        section 2.3 (the normalisation).
    """

    probes: int = 1

    def __check_init__(self):
        _check_probes(self.probes)

    @property
    def count(self) -> int:
        return self.probes

    def vectors(self, keys: PRNGKeys, x: Batch) -> Array:
        """Draw sketch and projections [2 probes, b, ...].

        Raises:
            ValueError: if `probes` is not below the dimension.
        """
        if self.probes >= dimension(x):
            raise ValueError(f"probes of Hutch++ must be below the dimension {dimension(x)}, got {self.probes}")
        return jax.vmap(lambda key: gaussian(key, (2 * self.probes, *x.shape[1:])), out_axes=1)(keys)

    def estimates(self, vectors: Float[Array, "k b ..."], product: Product) -> Float[Array, "m b"]:
        sketch, projections = jnp.split(vectors, 2)
        columns = lambda v: jnp.moveaxis(v.reshape(*v.shape[:2], -1), 0, -1)
        rows = lambda matrix: jnp.moveaxis(matrix, -1, 0).reshape(sketch.shape)
        basis, _ = jnp.linalg.qr(columns(jax.lax.map(product, sketch)))  # [b, d, probes]
        rest = columns(projections)
        rest = rest - basis @ (jnp.swapaxes(basis, 1, 2) @ rest)
        rest = rest * jnp.sqrt(rest.shape[1] - self.probes) / jnp.linalg.norm(rest, axis=1, keepdims=True)
        return jnp.sum(_quadratic_forms(rows(basis), product), axis=0) + _quadratic_forms(rows(rest), product)


class Exact(AbstractDivergence):
    """Compute the divergence exactly, at the cost of one product a dimension."""

    @property
    def count(self) -> int:
        return 1

    def vectors(self, keys: PRNGKeys | None, x: Batch) -> Array:
        """Return the unit vectors [d, b, ...]."""
        size = dimension(x)
        basis = jnp.eye(size, dtype=x.dtype).reshape(size, 1, *x.shape[1:])
        return jnp.broadcast_to(basis, (size, *x.shape))

    def estimates(self, vectors: Float[Array, "k b ..."], product: Product) -> Float[Array, "m b"]:
        return jnp.sum(_quadratic_forms(vectors, product), axis=0, keepdims=True)


DIVERGENCES = {"exact": Exact, "hutchinson": Hutchinson, "hutch++": HutchPlusPlus}


def as_divergence(divergence: str | AbstractDivergence) -> AbstractDivergence:
    """Return the divergence of a name, as it is by default, or the object itself.

    Raises:
        ValueError: if the name is unknown.
    """
    return choose("divergence", divergence, DIVERGENCES)() if isinstance(divergence, str) else divergence


def _quadratic_forms(vectors: Array, product: Product) -> Array:
    """Return `v . J v` [k, b] of vectors [k, b, ...], one after the other."""
    return jax.lax.map(lambda v: sum_per_example(v * product(v)), vectors)


def _check_probes(probes: int) -> None:
    if probes < 1:
        raise ValueError(f"probes must be at least 1, got {probes}")
