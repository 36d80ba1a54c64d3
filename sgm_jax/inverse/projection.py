"""Projection: after every step the measured part is drawn towards what was measured."""

from typing import ClassVar

import diffrax
import equinox as eqx
from jaxtyping import Array

from sgm_jax.inverse.measurement import Measurement, explain
from sgm_jax.inverse.method import AbstractMethod
from sgm_jax.inverse.operator import AbstractLinear
from sgm_jax.sampling import PredictorCorrector, per_example_noise
from sgm_jax.sampling.noise import NoiseSource
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, Level, PRNGKeys, expand


class Projection(AbstractMethod):
    """Move the measured part of the state towards the measurement, perturbed to the same noise level.

    `x <- x + strength (alpha A^+ y + sigma P z - P x)` with `P = A^+ A`: in the domain where the measurement picks
    coefficients, those are a weighted mean of the state's and the perturbed measured ones. A measurement without noise
    is met at the end. Cheap where `A^+` is (spectral operators).

    Args:
        strength: `lambda` in the paper, from 0 (not at all) to 1 (overwrite).
        source: noise source.

    Raises:
        ValueError: if `strength` is not from 0 to 1.

    References:
        Song et al., Solving Inverse Problems in Medical Imaging with Score-Based Generative Models, 2022, section 3.
    """

    strength: float = 1.0
    source: NoiseSource = per_example_noise
    needs: ClassVar[type] = AbstractLinear

    def __check_init__(self):
        if isinstance(self.strength, int | float) and not 0 <= self.strength <= 1:
            raise ValueError(f"strength must lie between 0 and 1, got {self.strength}")

    def constraint(self, sde: AbstractSDE, measurement: Measurement) -> "Projector":
        explained = measurement.map(lambda operator, y: operator.pseudo_inverse(y))
        return Projector(sde, Measurement(measurement.operator, explained), self.strength, self.source)

    def solver(self, measurement: Measurement) -> diffrax.AbstractSolver:
        return PredictorCorrector()

    def finish(self, operator: AbstractLinear, y: Array, x: Array) -> Array:
        return explain(operator, y, x)


class Projector(eqx.Module):
    """The constraint of `Projection`.

    Args:
        sde: the forward SDE.
        explained: the operator, and `A^+ y` in place of its measurements.
        strength: as in `Projection`.
        source: noise source.
    """

    sde: AbstractSDE
    explained: Measurement
    strength: float
    source: NoiseSource

    def __call__(self, keys: PRNGKeys, t: Level, x: Batch) -> Batch:
        beside = expand(self.sde.sigma(t), x) * self.source(keys, 0, x.shape) - x
        alpha = self.sde.alpha(t)
        return x + self.strength * self.explained.map(lambda a, known, v: alpha * known + a.project_range(v), beside)
