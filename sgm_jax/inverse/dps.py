"""Diffusion posterior sampling."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sgm_jax.inverse.measurement import noise_variance
from sgm_jax.inverse.method import AbstractGuided
from sgm_jax.inverse.operator import AbstractOperator


class DPS(AbstractGuided):
    """Guide by the residual of the denoised estimate, normalised: for any differentiable operator.

    `grad log p(y | x0) = scale sqrt(m) A^T r / sqrt(s**2 |A^T r|**2 + noise_std**2 |r|**2)` for the residual
    `r = y - A x0` of `m` numbers. As published it is divided by the residual's norm. What the paper multiplies by, a
    step size for its thousand steps, is replaced by what makes `scale` a pure number, whatever the steps, the noise
    level and the units of the measurement: 1 is the likelihood's own size where the residual is the noise's,
    and 2 was better in all the Gaussian problems of `benchmarks/inverse.py`.

    Args:
        scale: strength of the guidance.

    Raises:
        ValueError: if `scale` is negative.

    References:
        Chung et al., Diffusion Posterior Sampling for General Noisy Inverse Problems, 2023, eq. 16, algorithm 1.
    """

    scale: float = 2.0

    def __check_init__(self):
        if isinstance(self.scale, int | float) and self.scale < 0:
            raise ValueError(f"scale must be >= 0, got {self.scale}")

    def gradient(self, operator: AbstractOperator, y: Array, s: Array, denoised: Array) -> Array:
        half_square = lambda x: 0.5 * jnp.sum(jnp.square(jnp.abs(y - operator.forward(x))))
        value, gradient = jax.value_and_grad(half_square)(denoised)
        ones = operator.record(jnp.ones_like(y))
        count = jnp.sum(jnp.square(ones.real)) * (2 if jnp.iscomplexobj(y) else 1)
        size = jnp.square(s) * jnp.sum(jnp.square(gradient)) + noise_variance(operator) * 2 * value
        return -self.scale * jnp.sqrt(count / jnp.maximum(size, jnp.finfo(size.dtype).tiny)) * gradient
