"""Multistep consistency sampling: jump to the data, add noise up to the next level, jump again."""

from typing import ClassVar

import diffrax
import jax.numpy as jnp

from sgm_jax.sampling.abstract import AbstractNoiseSolver
from sgm_jax.sampling.stochastic import step_levels, step_noise


class Consistency(AbstractNoiseSolver):
    """Consistency sampling, one evaluation a step, of a score function that is made of a consistency function.

    In canonical coordinates, with `s_min` the SDE's smallest noise level,

        x_{s1} = f(s0, x_{s0}) + sqrt(max(s1**2 - s_min**2, 0)) z.

    A step that ends at zero noise is the jump alone: with `final="none"`, levels `[s_max, 0]` are sampling in one step
    and one evaluation, `[s_max, s1, 0]` in two. `then_zero` makes such levels. `eta` of `ReverseSDE` must be 1.

    Raises:
        ValueError: if the process has another `eta`.

    References:
        Song et al., Consistency Models, 2023, algorithm 1.
    """

    evaluations_per_step: ClassVar[int] = 1

    def order(self, terms):
        return 1

    def init(self, terms, t0, t1, y0, args):
        eta = args.process.eta
        if isinstance(eta, int | float) and eta != 1:
            raise ValueError(f"Consistency takes eta=1, got {eta}")
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        process, sde = args.process, args.process.sde
        s0, s1, _ = step_levels(t0, t1, y0, args)
        spread = jnp.sqrt(jnp.maximum(s1**2 - sde.s(sde.t_min).astype(s1.dtype) ** 2, 0))
        y1 = process.denoised(s0, y0) + spread * step_noise(terms, t0, t1)
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful
