"""Annealed Langevin dynamics with a likelihood."""

from typing import ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from sgm_jax.inverse.measurement import Measurement, noise_variance
from sgm_jax.inverse.method import AbstractMethod
from sgm_jax.inverse.operator import AbstractOperator
from sgm_jax.sampling import Hold, Langevin, PredictorCorrector, langevin_levels
from sgm_jax.sampling.schedules import Schedule
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, Level, ScoreFn, expand


class AnnealedLangevin(AbstractMethod):
    """Langevin dynamics at one noise level after another, with the likelihood of the state itself: no derivative of it.

    `score + A^T (y - A x) / (noise_std**2 + (rate s)**2)` in canonical coordinates. Any other solver serves too: with
    `PredictorCorrector` it is the baseline of Song et al. (2022).

    Args:
        rate: growth of the likelihood's deviation with the noise level, in the measurement's units.
        snr: signal-to-noise ratio of the Langevin steps.
        steps: Langevin steps a level.

    Raises:
        ValueError: unless `rate > 0`; for `snr` and `steps` as in `Langevin`.

    References:
        Jalal et al., Robust Compressed Sensing MRI with Deep Generative Priors, 2021.
    """

    rate: float = 1.0
    snr: float = 0.3
    steps: int = 5
    schedule: ClassVar[Schedule | None] = staticmethod(langevin_levels)

    def __check_init__(self):
        if isinstance(self.rate, int | float) and not self.rate > 0:
            raise ValueError(f"rate must be > 0, got {self.rate}")

    def condition(self, sde: AbstractSDE, score_fn: ScoreFn, measurement: Measurement) -> ScoreFn:
        return LikelihoodScore(sde, score_fn, measurement, self)

    def solver(self, measurement: Measurement) -> diffrax.AbstractSolver:
        return PredictorCorrector(Hold(), Langevin(self.snr, self.steps))

    def gradient(self, operator: AbstractOperator, y: Array, s: Array, xbar: Array) -> Array:
        """Return the likelihood's score [*shape] at one state, in canonical coordinates."""
        half_square = lambda x: 0.5 * jnp.sum(jnp.square(jnp.abs(y - operator.forward(x))))
        return -jax.grad(half_square)(xbar) / (noise_variance(operator) + jnp.square(self.rate * s))


class LikelihoodScore(eqx.Module):
    """The score function of `AnnealedLangevin`."""

    sde: AbstractSDE
    score_fn: ScoreFn
    measurement: Measurement
    method: AnnealedLangevin

    def __call__(self, t: Level, x: Batch) -> Batch:
        alpha, s = expand(self.sde.alpha(t), x), jnp.broadcast_to(self.sde.s(t), x.shape[:1])
        return self.score_fn(t, x) + self.measurement.map(self.method.gradient, s, x / alpha) / alpha
