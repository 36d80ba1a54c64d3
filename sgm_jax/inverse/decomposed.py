"""The singular vectors of any linear operator that is small enough, found numerically."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgm_jax.inverse.operator import AbstractLinear, AbstractSpectral, Shape
from sgm_jax.inverse.pixel import NEGLIGIBLE


class Decomposed(AbstractSpectral):
    """A linear operator as the singular value decomposition of its matrix, such as `Radon` on small images.

    Takes memory for the squared dimension of an example, and once the time of the decomposition: seconds for examples
    of 4,096 numbers. Singular values below 1e-6 of the largest count as 0.

    Args:
        operator: real linear measurement, whose noise this one has too; what it never records must be 0.
    """

    left: Float[Array, "m r"]
    values: Float[Array, " d"]
    right: Float[Array, "d d"]
    shape: Shape = eqx.field(static=True)
    output: Shape = eqx.field(static=True)
    noise_std: Array | float

    def __init__(self, operator: AbstractLinear):
        self.shape, self.output, self.noise_std = operator.shape, operator.measured.shape, operator.noise_std
        size = math.prod(self.shape)
        columns = jax.lax.map(operator.forward, jnp.eye(size).reshape(-1, *self.shape))
        left, values, right = np.linalg.svd(np.asarray(columns).reshape(size, -1).T)
        self.left, self.right = jnp.asarray(left[:, : len(values)]), jnp.asarray(right)
        kept = np.where(values > NEGLIGIBLE * values[0], values, 0)
        self.values = jnp.asarray(np.pad(kept, (0, size - len(kept))))

    @property
    def gains(self) -> Array:
        return self.values

    def analyse(self, x: Array) -> Array:
        return _product(self.right, x.ravel())

    def synthesise(self, coefficients: Array) -> Array:
        return _product(self.right.T, coefficients).reshape(self.shape)

    def place(self, y: Array) -> Array:
        found = _product(self.left.T, y.ravel())
        return jnp.pad(found, (0, len(self.values) - len(found)))

    def read(self, coefficients: Array) -> Array:
        return _product(self.left, coefficients[: self.left.shape[1]]).reshape(self.output)


def _product(matrix: Array, vector: Array) -> Array:
    return jnp.matmul(matrix, vector, precision=jax.lax.Precision.HIGHEST)
