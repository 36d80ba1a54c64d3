"""Exponential multistep solvers: exact in the linear part of the flow, carrying past evaluations in their state."""

from typing import ClassVar

import diffrax
import jax.numpy as jnp

from sgm_jax.sampling.abstract import AbstractFlowSolver


class DPMSolverPP(AbstractFlowSolver):
    """DPM-Solver++(2M): a second-order multistep solver on the denoised estimate, one evaluation a step.

    Integrates the probability flow in the clock `s` (the chart `NoiseLevel`). The first step, and a last one that
    ends at `s = 0`, are of first order.

    References:
        Lu et al., DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models, 2022, alg. 2.
    """

    evaluations_per_step: ClassVar[int] = 1

    def order(self, terms):
        return 2

    def init(self, terms, t0, t1, y0, args):
        # Past denoised estimate and past step in log s; a zero step marks that there is no past yet.
        return jnp.zeros_like(y0), jnp.zeros_like(t0)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        past, past_step = solver_state
        # Only |t| and ratios: diffeqsolve flips the sign of time when it integrates backward.
        s0, ratio = jnp.abs(t0), t1 / t0
        denoised = y0 - s0 * terms.vf(t0, y0, args)
        step = -jnp.log(jnp.where(ratio > 0, ratio, 1.0))
        # Extrapolate to the middle of the step, in log s: D + (D - D_past) h / (2 h_past).
        has_past = (past_step > 0) & (ratio > 0)
        slope = jnp.where(has_past, 0.5 * step / jnp.where(has_past, past_step, 1.0), 0.0).astype(y0.dtype)
        target = denoised + slope * (denoised - past)
        y1 = target + ratio.astype(y0.dtype) * (y0 - target)
        return y1, None, dict(y0=y0, y1=y1), (denoised, step), diffrax.RESULTS.successful
