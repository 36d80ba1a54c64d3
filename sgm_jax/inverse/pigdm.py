"""Pseudoinverse guidance."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from sgm_jax.inverse.measurement import noise_variance
from sgm_jax.inverse.method import AbstractGuided
from sgm_jax.inverse.operator import AbstractLinear


class PiGDM(AbstractGuided):
    """Guide by the likelihood of a Gaussian around the denoised estimate, of one variance in all directions.

    `grad log p(y | x0) = A^T (r**2 A A^T + noise_std**2)^-1 (y - A x0)` with
    `r**2 = prior_std**2 s**2 / (prior_std**2 + s**2)`, the variance of the data given the state where they are Gaussian
    with covariance `prior_std**2`. There the posterior score is exact.

    Args:
        prior_std: standard deviation of the data, in data units; published: 1.

    Raises:
        ValueError: unless `prior_std > 0`.

    References:
        Song et al., Pseudoinverse-Guided Diffusion Models for Inverse Problems, 2023, eq. 7.
    """

    prior_std: float = 1.0
    needs: ClassVar[type] = AbstractLinear

    def __check_init__(self):
        if isinstance(self.prior_std, int | float) and not self.prior_std > 0:
            raise ValueError(f"prior_std must be > 0, got {self.prior_std}")

    def gradient(self, operator: AbstractLinear, y: Array, s: Array, denoised: Array) -> Array:
        return operator.adjoint(self.whiten(operator, s, y - operator.forward(denoised)))

    def variance(self, s: Array) -> Array:
        """Return `r**2`, the variance of the data given the state at noise level `s`."""
        return jnp.square(self.prior_std * s / jnp.hypot(self.prior_std, s))

    def whiten(self, operator: AbstractLinear, s: Array, residual: Array) -> Array:
        """Return `(r**2 A A^T + noise_std**2)^-1` times a residual."""
        return whiten(operator, self.variance(s), residual)


def whiten(operator: AbstractLinear, variance: Array, residual: Array) -> Array:
    """Return `(variance A A^T + noise_std**2)^-1` times a residual."""
    return operator.solve_gram(residual, noise_variance(operator) / variance) / variance
