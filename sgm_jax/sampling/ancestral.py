"""Ancestral sampling: each step draws from the exact posterior given the denoised estimate."""

from typing import ClassVar

import diffrax
import jax.numpy as jnp

from sgm_jax.naming import unknown
from sgm_jax.sampling.abstract import AbstractNoiseSolver
from sgm_jax.sampling.stochastic import step_levels, step_noise


class Ancestral(AbstractNoiseSolver):
    """DDPM's ancestral sampling: a draw from `q(x_{s1} | x_{s0}, D)`, one evaluation a step.

    In canonical coordinates, with `v = 1 - (s1 / s0)**2`,

        x_{s1} = D + (s1 / s0) sqrt(1 - eta**2 v) (x_{s0} - D) + eta * spread * z.

    With the small variance, `eta` of `ReverseSDE` is DDIM's: 0 gives DDIM, 1 the exact posterior. A step that ends at
    zero noise adds none.

    Args:
        variance: `"small"`, `spread = s1 sqrt(v)`, exact for data in one point (beta-tilde); or `"large"`,
            `spread = alpha(s0) / alpha(s1) sqrt(s0**2 - s1**2)`, exact for standard Gaussian data under `VP` (beta).

    Raises:
        ValueError: if `variance` is unknown, or the process has `eta > 1`.

    References:
        Ho et al., Denoising Diffusion Probabilistic Models, 2020, eq. 7 and algorithm 2.
        Song et al., Denoising Diffusion Implicit Models, 2020, eq. 12, 16.
    """

    variance: str = "small"
    evaluations_per_step: ClassVar[int] = 1

    def __check_init__(self):
        if self.variance not in ("small", "large"):
            raise unknown("variance", self.variance, ("small", "large"))

    def order(self, terms):
        return 1

    def init(self, terms, t0, t1, y0, args):
        eta = args.process.eta
        if isinstance(eta, int | float) and eta > 1:
            raise ValueError(f"Ancestral takes eta from 0 to 1, got {eta}; SDEDPMSolverPP() takes larger ones")
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        s0, s1, _ = step_levels(t0, t1, y0, args)
        process, eta = args.process, jnp.asarray(args.process.eta, y0.dtype)
        gap = jnp.asarray(t1 - t0, y0.dtype)
        shrink = gap / s0**2
        if self.variance == "small":
            spread = s1 * jnp.sqrt(shrink)
        else:
            alpha = lambda s: process.sde.alpha(process.sde.t(s)).astype(y0.dtype)
            end = jnp.where(s1 > 0, s1, s0)
            spread = jnp.where(s1 > 0, alpha(s0) / alpha(end) * jnp.sqrt(gap), 0.0)
        denoised = process.denoised(s0, y0)
        mean = denoised + s1 / s0 * jnp.sqrt(1 - eta**2 * shrink) * (y0 - denoised)
        y1 = mean + eta * spread * step_noise(terms, t0, t1)
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful
