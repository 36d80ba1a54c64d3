"""EDM's stochastic sampler: raise the noise level a little, then take Heun's step down."""

import math
from typing import ClassVar

import diffrax
import jax.numpy as jnp

from sgm_jax.sampling.abstract import AbstractNoiseSolver
from sgm_jax.sampling.stochastic import step_levels, step_noise


class Churn(AbstractNoiseSolver):
    """EDM's stochastic sampler, two evaluations a step: noise up to `s_hat`, then Heun's method from there to `s1`.

    `s_hat**2 = s0**2 + eta**2 s0**2 ((1 + gamma)**2 - 1)` with `gamma = min(s_churn / steps, sqrt(2) - 1)` for `s0`
    within `[s_min, s_max]` and 0 elsewhere; `eta = 1` of `ReverseSDE` is the published sampler, `s_churn = 0` or
    `eta = 0` Heun's method on the probability flow. A step that ends at zero noise is Euler's, its second
    evaluation made but not used; a schedule of `steps - 1` steps with `final="tweedie"` is the published sampler with
    its `2 steps - 1` evaluations.

    Args:
        steps: `N`, the number of steps over which the churn is spread, a last one to zero noise included.
        s_churn: overall amount of churn.
        s_min: smallest noise level that is raised, in data units.
        s_max: largest noise level that is raised, in data units.
        s_noise: standard deviation of the noise that is added, in units of what would keep the noise level.

    Raises:
        ValueError: if a value is negative, `steps` below 1 or `s_min > s_max`.

    References:
        Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, algorithm 2.
    """

    steps: int
    s_churn: float = 40.0
    s_min: float = 0.05
    s_max: float = 50.0
    s_noise: float = 1.003
    evaluations_per_step: ClassVar[int] = 2

    def __check_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        for name in ("s_churn", "s_min", "s_noise"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")
        if self.s_min > self.s_max:
            raise ValueError(f"s_min must not exceed s_max, got s_min={self.s_min}, s_max={self.s_max}")

    def order(self, terms):
        return 2

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        s0, s1, _ = step_levels(t0, t1, y0, args)
        process, eta = args.process, jnp.asarray(args.process.eta, y0.dtype)
        inside = (self.s_min <= s0) & (s0 <= self.s_max)
        gamma = jnp.where(inside, min(self.s_churn / self.steps, math.sqrt(2) - 1), 0.0).astype(y0.dtype)
        rise = eta * s0 * jnp.sqrt(gamma * (2 + gamma))
        raised = jnp.hypot(s0, rise)
        y = y0 + self.s_noise * rise * step_noise(terms, t0, t1)
        slope = process.noise(raised, y)
        euler = y + (s1 - raised) * slope
        ends = s1 > 0
        second = process.noise(jnp.where(ends, s1, raised), euler)
        y1 = jnp.where(ends, y + 0.5 * (s1 - raised) * (slope + second), euler)
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful
