"""The twisted diffusion sampler: sequential Monte Carlo, exact as particles and steps grow in number."""

from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sgm_jax.inverse.measurement import Measurement
from sgm_jax.inverse.method import AbstractMethod
from sgm_jax.inverse.operator import AbstractLinear
from sgm_jax.inverse.pigdm import PiGDM
from sgm_jax.sampling import AbstractNoiseSolver, AbstractProcess
from sgm_jax.sampling.stochastic import step_levels, step_noise
from sgm_jax.shapes import Batch, PerExample, PRNGKey, sum_per_example


class TwistedDiffusion(AbstractMethod):
    """Guided particles that are weighted by what the guidance gets wrong, and resampled after each step.

    The draws of one measurement are its particles, so they are not independent: ask for as many as can be afforded.
    Proposals are guided by `guide`, whose Gaussian likelihood is the twisting function. The last noise level must not
    be 0.

    Args:
        guide: the guidance; its `prior_std` also gives the proposals' spread.

    References:
        Wu et al., Practical and Asymptotically Exact Conditional Sampling in Diffusion Models, 2023, algorithm 1.
    """

    guide: PiGDM = PiGDM()
    needs: ClassVar[type] = AbstractLinear

    def solver(self, measurement: Measurement) -> diffrax.AbstractSolver:
        return TwistedSolver(self.guide, measurement)


class TwistedSolver(AbstractNoiseSolver):
    """The solver of `TwistedDiffusion`; its state holds what was last evaluated, and the particles' log weights.

    A step's proposal is `x + v (x0 + s0**2 g - x) + spread z` with `v = 1 - (s1 / s0)**2`, the guidance `g` and
    `spread**2 = s1**2 v + (v r)**2`: the exact transition of Gaussian data whose variance given the state is `r**2`.
    """

    guide: PiGDM
    measurement: Measurement
    evaluations_per_step: ClassVar[int] = 1
    evaluations_at_start: ClassVar[int] = 1

    def order(self, terms):
        return 1

    def look(self, process: AbstractProcess, s: Array, xbar: Batch) -> tuple[Batch, Batch, PerExample]:
        """Return the denoised estimate, the gradient of the log twisting function, and its value up to a constant."""

        def twist(operator, y, s, denoised):
            residual = y - operator.forward(denoised)
            white = self.guide.whiten(operator, s, residual)
            return -0.5 * jnp.vdot(residual, white).real, operator.adjoint(white)

        denoised, pullback = jax.vjp(lambda xbar: process.denoised(s, xbar), xbar)
        log_twist, slope = self.measurement.map(twist, jnp.broadcast_to(s, xbar.shape[:1]), denoised)
        return denoised, pullback(slope)[0], log_twist

    def init(self, terms, t0, t1, y0, args):
        s = args.process.level(jnp.abs(t0)).astype(y0.dtype)
        start = self.look(args.process, s, y0)
        return start, start[-1], jnp.zeros((), jnp.int32)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        (denoised, slope, log_twist), log_weight, index = solver_state
        s0, s1, _ = step_levels(t0, t1, y0, args)
        shrink = 1 - (s1 / s0) ** 2
        spread = jnp.sqrt(s1**2 * shrink + shrink**2 * self.guide.variance(s0))
        noise, push = step_noise(terms, t0, t1), shrink * s0**2 * slope
        y = y0 + shrink * (denoised - y0) + push + spread * noise
        # The unguided transition's log density less the proposal's.
        log_ratio = -sum_per_example(push * (0.5 * push / spread + noise)) / spread
        seen = self.look(args.process, s1, y)
        log_weight = log_weight + log_ratio + seen[-1] - log_twist
        count = len(self.measurement.y)
        keys = jax.vmap(jax.random.fold_in, (0, None))(args.solver_keys[:count], index)
        chosen = jax.vmap(systematic, (0, 1), 1)(keys, log_weight.reshape(-1, count))
        chosen = (chosen * count + jnp.arange(count)).reshape(-1)
        y, seen = jax.tree.map(lambda particles: particles[chosen], (y, seen))
        return y, None, dict(y0=y0, y1=y), (seen, jnp.zeros_like(log_weight), index + 1), diffrax.RESULTS.successful


def systematic(key: PRNGKey, log_weight: Float[Array, " n"]) -> Int[Array, " n"]:
    """Draw `n` indices by systematic resampling: each `n` times its weight, rounded up or down."""
    weights = jnp.cumsum(jax.nn.softmax(log_weight))
    count = len(log_weight)
    positions = (jnp.arange(count) + jax.random.uniform(key)) / count
    return jnp.clip(jnp.searchsorted(weights, positions), 0, count - 1)
