"""Editing with a consistency model: what is known replaces its part of every jump to the data."""

from typing import ClassVar

import diffrax
from jaxtyping import Array

from sgm_jax.inverse.measurement import Measurement, explain
from sgm_jax.inverse.method import AbstractRefined
from sgm_jax.inverse.operator import AbstractLinear
from sgm_jax.sampling import Consistency, karras, then_zero
from sgm_jax.sampling.schedules import Schedule


class ConsistencyEditing(AbstractRefined):
    """Multistep consistency sampling, the measured part of each estimate overwritten: `x0 <- A^+ y + (1 - A^+ A) f`.

    The score function must be made of a consistency function `f`. With `Mask` it is inpainting, with `Grey`
    colourisation, with `average` super-resolution, each in the transform where the measurement picks coefficients. For
    measurements without noise. It starts from the prior; the paper's start around the measurement is
    `x_init = alpha A^+ y + sigma z`, and a lower first level in `schedule` makes it denoising, or editing by strokes.

    References:
        Song et al., Consistency Models, 2023, algorithm 4.
    """

    needs: ClassVar[type] = AbstractLinear
    schedule: ClassVar[Schedule | None] = staticmethod(then_zero(karras))
    final: ClassVar[str] = "none"

    def refine(self, operator: AbstractLinear, y: Array, s: Array, denoised: Array) -> Array:
        return denoised + operator.pseudo_inverse(y - operator.forward(denoised))

    def solver(self, measurement: Measurement) -> diffrax.AbstractSolver:
        return Consistency()

    def finish(self, operator: AbstractLinear, y: Array, x: Array) -> Array:
        return explain(operator, y, x)
