"""What a measurement is: `y = forward(x) + noise_std * n`, for one example at a time.

Operators act on one example, without a batch axis. `jax.vmap(operator.forward)` measures a batch with one operator;
operators of one kind stacked along their arrays' first axis, one an item, are mapped over as well by `eqx.filter_vmap`.
Under `jax.jit` take them as closures, or as arguments of `eqx.filter_jit`.
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from sgm_jax.shapes import PRNGKey

Shape = tuple[int, ...]


class AbstractOperator(eqx.Module):
    """A measurement of one example, linear or not.

    Attributes:
        shape: shape of one example.
        noise_std: standard deviation of the measurement's noise, in the measurement's units; 0 for none.
    """

    shape: eqx.AbstractVar[Shape]
    noise_std: eqx.AbstractVar[Array | float]

    def __check_init__(self):
        if not self.shape or not all(isinstance(n, int) and n > 0 for n in self.shape):
            raise ValueError(f"shape must be a tuple of positive integers, got {self.shape}")
        if not isinstance(self.noise_std, Tracer):
            std = np.asarray(self.noise_std)
            if not np.all((std >= 0) & np.isfinite(std)):
                raise ValueError(f"noise_std must be finite and at least 0, got {self.noise_std}")

    @abc.abstractmethod
    def forward(self, x: Array) -> Array:
        """Measure one example [*shape], without noise."""

    def record(self, y: Array) -> Array:
        """Set to 0 those entries of one measurement that are never recorded, whatever the example (hidden pixels)."""
        return y

    def measure(self, key: PRNGKey, x: Array) -> Array:
        """Measure one example [*shape] with noise: Gaussian, of deviation `noise_std` in every recorded entry."""
        y = self.forward(x)
        return y + self.noise_std * self.record(jax.random.normal(key, y.shape, y.dtype))

    @property
    def measured(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of one measurement."""
        return jax.eval_shape(self.forward, jax.ShapeDtypeStruct(self.shape, jnp.result_type(float)))


class AbstractLinear(AbstractOperator):
    """A linear measurement. What a subclass leaves out is derived: the adjoint by transposition, the rest from it."""

    def adjoint(self, y: Array) -> Array:
        """Apply the adjoint to one measurement: `<forward(x), y> = <x, adjoint(y)>` (real inner products)."""
        # The transpose conjugates nothing; the adjoint of a complex measurement does.
        example = jax.ShapeDtypeStruct(self.shape, jnp.result_type(float))
        return jnp.conj(jax.linear_transpose(self.forward, example)(jnp.conj(y))[0]).real

    def solve_gram(self, y: Array, ridge: Array | float) -> Array:
        """Solve `(A A^T + ridge) z = y` for one measurement in the range of `A`.

        What `y` has outside the range changes `z` by something that `adjoint` maps to 0, unless `ridge` is 0 and the
        solution is iterative, as it is here: conjugate gradients.
        """
        normal = lambda z: self.forward(self.adjoint(z)) + ridge * z
        return jax.scipy.sparse.linalg.cg(normal, y, tol=1e-6, maxiter=200)[0]

    def pseudo_inverse(self, y: Array) -> Array:
        """Return the smallest example that explains one measurement best."""
        # Conjugate gradients from 0 on the normal equations, consistent for any measurement.
        normal = lambda x: self.adjoint(self.forward(x))
        return jax.scipy.sparse.linalg.cg(normal, self.adjoint(y), tol=1e-6, maxiter=200)[0]

    def project_range(self, x: Array) -> Array:
        """Return the part of one example that the measurement sees."""
        return self.pseudo_inverse(self.forward(x))

    def project_null(self, x: Array) -> Array:
        """Return the part of one example that the measurement does not see."""
        return x - self.project_range(x)


class AbstractSpectral(AbstractLinear):
    """A linear measurement whose singular vectors are known: `A = U diag(gains) V^T`, all of it real.

    A subclass gives the orthogonal transform of examples, its inverse, the gains, and how measurements are placed among
    the coefficients; everything else follows, exactly.
    """

    @property
    @abc.abstractmethod
    def gains(self) -> Array:
        """Singular values, of the coefficients' shape; at least 0, and 0 for those that are not measured."""

    @abc.abstractmethod
    def analyse(self, x: Array) -> Array:
        """Return `V^T x`, the coefficients of one example: real, of its length, at least as many as its dimensions."""

    @abc.abstractmethod
    def synthesise(self, coefficients: Array) -> Array:
        """Return `V c`, the example that has these coefficients."""

    @abc.abstractmethod
    def place(self, y: Array) -> Array:
        """Return `U^T y`, one measurement among the coefficients; 0 where `U` has no column."""

    @abc.abstractmethod
    def read(self, coefficients: Array) -> Array:
        """Return `U c`, the measurement that the (already amplified) coefficients are read as."""

    def forward(self, x: Array) -> Array:
        return self.read(self.gains * self.analyse(x))

    def adjoint(self, y: Array) -> Array:
        return self.synthesise(self.gains * self.place(y))

    def solve_gram(self, y: Array, ridge: Array | float) -> Array:
        denominator = jnp.square(self.gains) + ridge
        return self.read(_divide(self.place(y), denominator))

    def pseudo_inverse(self, y: Array) -> Array:
        return self.synthesise(_divide(self.place(y), self.gains))


def _divide(numerator: Array, denominator: Array) -> Array:
    seen = denominator > 0
    return jnp.where(seen, numerator / jnp.where(seen, denominator, 1), 0)
