"""The manifold-constrained gradient."""

from typing import ClassVar

import diffrax
from jaxtyping import Array

from sgm_jax.inverse.dps import DPS
from sgm_jax.inverse.measurement import Measurement
from sgm_jax.inverse.method import AbstractMethod
from sgm_jax.inverse.operator import AbstractLinear
from sgm_jax.inverse.projection import Projection, Projector
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import ScoreFn


class MCG(AbstractMethod):
    """The gradient through the denoiser, and a projection onto the measurement after each step.

    Args:
        gradient: the gradient's share, `DPS` of some scale.
        projection: the projection's.

    References:
        Chung et al., Improving Diffusion Models for Inverse Problems using Manifold Constraints, 2022, section 3.
    """

    gradient: DPS = DPS()
    projection: Projection = Projection()
    needs: ClassVar[type] = AbstractLinear

    def condition(self, sde: AbstractSDE, score_fn: ScoreFn, measurement: Measurement) -> ScoreFn:
        return self.gradient.condition(sde, score_fn, measurement)

    def constraint(self, sde: AbstractSDE, measurement: Measurement) -> Projector:
        return self.projection.constraint(sde, measurement)

    def solver(self, measurement: Measurement) -> diffrax.AbstractSolver:
        return self.gradient.solver(measurement)

    def finish(self, operator: AbstractLinear, y: Array, x: Array) -> Array:
        return self.projection.finish(operator, y, x)
