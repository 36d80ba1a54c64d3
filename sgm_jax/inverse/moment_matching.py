"""Guidance by the covariance of the data given the state, which the denoiser's Jacobian knows."""

from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from sgm_jax.inverse.measurement import Measurement, noise_variance
from sgm_jax.inverse.method import AbstractMethod, denoise
from sgm_jax.inverse.operator import AbstractLinear
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, Level, ScoreFn, expand, sum_per_example


class MomentMatching(AbstractMethod):
    """Guide by the likelihood of a Gaussian with the mean and the covariance that the data have given the state.

    `score + J^T A^T (A C A^T + noise_std**2)^-1 (y - A x0)`, with Tweedie's second moment
    `C = s**2 d x0 / d (x / alpha)`. The system is solved by conjugate gradients, each iteration of which is a
    derivative through the network. The posterior score is exact for Gaussian data of any covariance, once the
    iterations are as many as the numbers measured.

    Args:
        iterations: iterations of conjugate gradients.

    Raises:
        ValueError: if `iterations` is less than 1.

    References:
        Boys et al., Tweedie Moment Projected Diffusions for Inverse Problems, 2023.
        Rozet et al., Learning Diffusion Priors from Observations by Expectation Maximization, 2024, section 4.2.
    """

    iterations: int = 3
    needs: ClassVar[type] = AbstractLinear

    def __check_init__(self):
        if self.iterations < 1:
            raise ValueError(f"iterations must be at least 1, got {self.iterations}")

    def condition(self, sde: AbstractSDE, score_fn: ScoreFn, measurement: Measurement) -> ScoreFn:
        return MomentMatchedScore(sde, score_fn, measurement, self.iterations)


class MomentMatchedScore(eqx.Module):
    """The score function of `MomentMatching`."""

    sde: AbstractSDE
    score_fn: ScoreFn
    measurement: Measurement
    iterations: int

    def __call__(self, t: Level, x: Batch) -> Batch:
        sde, measurement = self.sde, self.measurement
        denoised, score, pullback = denoise(sde, self.score_fn, t, x)
        spread = expand(sde.alpha(t) * sde.s(t) ** 2, x)
        residual = measurement.map(lambda a, y, x0: y - a.forward(x0), denoised)
        back = lambda z: pullback(measurement.map(lambda a, y, z: a.adjoint(z), z))
        covariance = lambda z: measurement.map(
            lambda a, y, v, z: a.forward(v) + noise_variance(a) * z, spread * back(z), z
        )
        return score + back(conjugate_gradients(covariance, residual, self.iterations))


def conjugate_gradients(matrix: Callable[[Array], Array], target: Array, iterations: int) -> Array:
    """Solve a symmetric positive system for each example of a batch, with steps of its own.

    Args:
        matrix: maps a batch [b, ...], real or complex, example by example.
        target: [b, ...].
        iterations: number of iterations.
    """
    product = lambda a, b: sum_per_example((jnp.conj(a) * b).real)
    ratio = lambda a, b: expand(jnp.where(b > 0, a / jnp.where(b > 0, b, 1), 0), target.real)

    def iterate(_, carry):
        solution, residual, direction, square = carry
        image = matrix(direction)
        length = ratio(square, product(direction, image))
        solution, residual = solution + length * direction, residual - length * image
        smaller = product(residual, residual)
        return solution, residual, residual + ratio(smaller, square) * direction, smaller

    start = jnp.zeros_like(target), target, target, product(target, target)
    return jax.lax.fori_loop(0, iterations, iterate, start)[0]
