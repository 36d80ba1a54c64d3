"""Compressed sensing by few random combinations of all pixels."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sgm_jax.inverse.operator import AbstractLinear, AbstractSpectral, Shape
from sgm_jax.shapes import PRNGKey


class Hadamard(AbstractSpectral):
    """Random rows of the Walsh-Hadamard transform of the pixels, signed and permuted at random: [h, w, c] to [m, c].

    Args:
        key: determines rows, signs and permutation, the same for all channels.
        shape: shape of one example, [h, w, c], with `h w` a power of two.
        measurements: number of rows `m`, at most `h w`.
        noise_std: deviation of the noise.
    """

    rows: Int[Array, " m"]
    signs: Float[Array, "n 1"]
    permutation: Int[Array, " n"]
    shape: Shape = eqx.field(static=True)
    noise_std: Array | float

    def __init__(self, key: PRNGKey, shape: Shape, measurements: int, noise_std: Array | float = 0.0):
        pixels = shape[0] * shape[1]
        if pixels & (pixels - 1):
            raise ValueError(f"shape must have a power of two pixels, got {shape} with {pixels}")
        if not 1 <= measurements <= pixels:
            raise ValueError(f"measurements must lie between 1 and the {pixels} pixels, got {measurements}")
        row_key, sign_key, order_key = jax.random.split(key, 3)
        self.rows = jax.random.permutation(row_key, pixels)[:measurements]
        self.signs = jax.random.rademacher(sign_key, (pixels, 1), jnp.result_type(float))
        self.permutation = jax.random.permutation(order_key, pixels)
        self.shape, self.noise_std = shape, noise_std

    @property
    def gains(self) -> Array:
        return jnp.zeros((len(self.signs), self.shape[-1])).at[self.rows].set(1)

    def analyse(self, x: Array) -> Array:
        return walsh_hadamard(self.signs * x.reshape(-1, self.shape[-1])[self.permutation])

    def synthesise(self, coefficients: Array) -> Array:
        pixels = self.signs * walsh_hadamard(coefficients)
        return jnp.zeros_like(pixels).at[self.permutation].set(pixels).reshape(self.shape)

    def place(self, y: Array) -> Array:
        return jnp.zeros((len(self.signs), self.shape[-1]), y.dtype).at[self.rows].set(y)

    def read(self, coefficients: Array) -> Array:
        return coefficients[self.rows]


def walsh_hadamard(x: Float[Array, "n c"]) -> Float[Array, "n c"]:
    """Transform the first axis, whose length is a power of two, orthonormally; twice is the identity."""
    count, channels = x.shape
    half = 1
    while half < count:
        first, second = jnp.moveaxis(x.reshape(-1, 2, half, channels), 1, 0)
        x = jnp.stack([first + second, first - second], 1)
        half *= 2
    return x.reshape(count, channels) / count**0.5


class Dense(AbstractLinear):
    """A matrix times the flattened example: to [m].

    Args:
        matrix: [m, d], for examples of `d` numbers.
        shape: shape of one example.
        noise_std: deviation of the noise.
    """

    matrix: Float[Array, "m d"]
    shape: Shape = eqx.field(static=True)
    noise_std: Array | float = 0.0

    def forward(self, x: Array) -> Array:
        return jnp.matmul(self.matrix, x.ravel(), precision=jax.lax.Precision.HIGHEST)

    def adjoint(self, y: Array) -> Array:
        return jnp.matmul(y, self.matrix, precision=jax.lax.Precision.HIGHEST).reshape(self.shape)


def gaussian_sensing(key: PRNGKey, shape: Shape, measurements: int, noise_std: Array | float = 0.0) -> Dense:
    """Return `measurements` random combinations, Gaussian with columns of unit norm in expectation."""
    size = (measurements, math.prod(shape))
    matrix = jax.random.normal(key, size) / measurements**0.5
    return Dense(matrix=matrix, shape=shape, noise_std=noise_std)
