"""SDE-DPM-Solver++: a multistep solver of the reverse SDE that is exact in everything but the denoised estimate."""

from typing import ClassVar

import diffrax
import jax.numpy as jnp

from sgm_jax.sampling.abstract import AbstractNoiseSolver
from sgm_jax.sampling.stochastic import exact_step, step_levels, step_noise


class SDEDPMSolverPP(AbstractNoiseSolver):
    """SDE-DPM-Solver++, one evaluation a step, for any noise strength `eta` of `ReverseSDE` (published: 1).

    The denoised estimate is held over the step at `D` (`points=1`), or at its extrapolation to the step's middle in
    `log s`, `D + (D - D_past) h / (2 h_past)` (`points=2`, the 2M solver). The first step, and one that ends at zero
    noise, use one point. `eta=0` gives `DPMSolverPP`.

    Args:
        points: estimates used, 1 or 2, which is also the weak order.

    Raises:
        ValueError: if `points` is neither 1 nor 2.

    References:
        Lu et al., DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models, 2022,
        SDE-DPM-Solver++(1) and (2M).
    """

    points: int = 2
    evaluations_per_step: ClassVar[int] = 1

    def __check_init__(self):
        if self.points not in (1, 2):
            raise ValueError(f"points must be 1 or 2, got {self.points}")

    def order(self, terms):
        return self.points

    def init(self, terms, t0, t1, y0, args):
        # Past denoised estimate and past step in log s; a zero step marks that there is no past yet.
        return jnp.zeros_like(y0), jnp.zeros((), y0.dtype)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        past, past_h = solver_state
        s0, s1, h = step_levels(t0, t1, y0, args)
        denoised = args.process.denoised(s0, y0)
        has_past = (past_h > 0) & (s1 > 0) & (self.points == 2)
        slope = jnp.where(has_past, 0.5 * h / jnp.where(has_past, past_h, 1.0), 0.0)
        eta = jnp.asarray(args.process.eta, y0.dtype)
        integral = -jnp.expm1(-(1 + eta**2) * h) * (denoised + slope * (denoised - past))
        y1 = exact_step(y0, integral, s1, h, eta, step_noise(terms, t0, t1))
        return y1, None, dict(y0=y0, y1=y1), (denoised, h), diffrax.RESULTS.successful
