"""DiffPIR: a proximal step on the denoised estimate, and fresh noise in each step."""

from typing import ClassVar

import diffrax
import jax.numpy as jnp
from jaxtyping import Array

from sgm_jax.inverse.measurement import Measurement, noise_variance
from sgm_jax.inverse.method import AbstractRefined
from sgm_jax.inverse.operator import AbstractLinear
from sgm_jax.sampling import AbstractNoiseSolver
from sgm_jax.sampling.stochastic import step_levels, step_noise


class DiffPIR(AbstractRefined):
    """Refine the estimate by the proximal step of the measurement's likelihood, its own error taken as `s**2 / weight`.

    `x0 <- argmin |y - A x|**2 / noise_std**2 + weight |x - x0|**2 / s**2
         = x0 + A^T (A A^T + weight noise_std**2 / s**2)^-1 (y - A x0)`.

    Args:
        weight: weight of the prior (`lambda` in the paper).
        zeta: share of fresh noise in the steps of `Renoise`, from 0 to 1.

    Raises:
        ValueError: unless `weight > 0` and `0 <= zeta <= 1`.

    References:
        Zhu et al., Denoising Diffusion Models for Plug-and-Play Image Restoration, 2023, algorithm 1.
    """

    weight: float = 1.0
    zeta: float = 0.5
    needs: ClassVar[type] = AbstractLinear

    def __check_init__(self):
        if isinstance(self.weight, int | float) and not self.weight > 0:
            raise ValueError(f"weight must be > 0, got {self.weight}")
        if isinstance(self.zeta, int | float) and not 0 <= self.zeta <= 1:
            raise ValueError(f"zeta must lie between 0 and 1, got {self.zeta}")

    def refine(self, operator: AbstractLinear, y: Array, s: Array, denoised: Array) -> Array:
        ridge = self.weight * noise_variance(operator) / jnp.square(s)
        return denoised + operator.adjoint(operator.solve_gram(y - operator.forward(denoised), ridge))

    def solver(self, measurement: Measurement) -> diffrax.AbstractSolver:
        return Renoise(self.zeta)


class Renoise(AbstractNoiseSolver):
    """Steps of a `ReverseSDE` to the estimate plus noise, partly the old and partly fresh: one evaluation a step.

    `x_{s1} = D + s1 (sqrt(1 - zeta) (x_{s0} - D) / s0 + sqrt(zeta) z)`: 0 is DDIM, 1 keeps nothing but the estimate.

    Args:
        zeta: share of fresh noise.

    References:
        Zhu et al., 2023, algorithm 1.
    """

    zeta: float
    evaluations_per_step: ClassVar[int] = 1

    def order(self, terms):
        return 1

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        s0, s1, _ = step_levels(t0, t1, y0, args)
        denoised = args.process.denoised(s0, y0)
        old, fresh = (y0 - denoised) / s0, step_noise(terms, t0, t1)
        y1 = denoised + s1 * (jnp.sqrt(1 - self.zeta) * old + jnp.sqrt(self.zeta) * fresh)
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful
