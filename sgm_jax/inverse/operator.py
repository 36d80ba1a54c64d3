"""What a measurement is: `y = forward(x) + noise_std * n`, for one example at a time.

Operators act on one example, without a batch axis. `jax.vmap(operator.forward)` measures a batch with one operator;
operators of one kind stacked along their arrays' first axis, one an item, are mapped over as well by `eqx.filter_vmap`.
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

Shape = tuple[int, ...]


class AbstractOperator(eqx.Module):
    """A measurement of one example, linear or not.

    Attributes:
        shape: shape of one example.
        noise_std: standard deviation of the measurement's noise, in the measurement's units; 0 for none.
    """

    shape: eqx.AbstractVar[Shape]
    noise_std: eqx.AbstractVar[Array | float]

    @abc.abstractmethod
    def forward(self, x: Array) -> Array:
        """Measure one example [*shape], without noise."""

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
        """Solve `(A A^T + ridge) z = y` for one measurement; for `ridge = 0`, `y` in the range of `A`."""
        normal = lambda z: self.forward(self.adjoint(z)) + ridge * z
        return jax.scipy.sparse.linalg.cg(normal, y, tol=1e-6, maxiter=200)[0]

    def pseudo_inverse(self, y: Array) -> Array:
        """Return the smallest example that explains one measurement best."""
        return self.adjoint(self.solve_gram(y, 0.0))

    def project_range(self, x: Array) -> Array:
        """Return the part of one example that the measurement sees."""
        return self.pseudo_inverse(self.forward(x))

    def project_null(self, x: Array) -> Array:
        """Return the part of one example that the measurement does not see."""
        return x - self.project_range(x)


class AbstractSpectral(AbstractLinear):
    """A linear measurement whose singular vectors are known: `A = U diag(gains) V^H`.

    A subclass gives the unitary transform of examples, its inverse, the gains, and how measurements are placed among
    the coefficients; everything else follows, exactly.
    """

    @property
    @abc.abstractmethod
    def gains(self) -> Array:
        """Singular values, one a coefficient; real, at least 0, and 0 for those that are not measured."""

    @abc.abstractmethod
    def analyse(self, x: Array) -> Array:
        """Return `V^H x`, the coefficients of one example; as many as it has dimensions."""

    @abc.abstractmethod
    def synthesise(self, coefficients: Array) -> Array:
        """Return `V c`, the example that has these coefficients."""

    @abc.abstractmethod
    def place(self, y: Array) -> Array:
        """Return `U^H y`, one measurement among the coefficients; 0 where the gain is 0."""

    @abc.abstractmethod
    def read(self, coefficients: Array) -> Array:
        """Return `U c`, the measurement that the (already amplified) coefficients are read as."""

    def forward(self, x: Array) -> Array:
        return self.read(self.gains * self.analyse(x))

    def adjoint(self, y: Array) -> Array:
        return self.synthesise(self.gains * self.place(y))

    def solve_gram(self, y: Array, ridge: Array | float) -> Array:
        denominator = jnp.square(self.gains) + ridge
        solved = jnp.where(denominator > 0, self.place(y) / jnp.where(denominator > 0, denominator, 1), 0)
        return self.read(solved)

    def pseudo_inverse(self, y: Array) -> Array:
        seen = self.gains > 0
        return self.synthesise(jnp.where(seen, self.place(y) / jnp.where(seen, self.gains, 1), 0))
