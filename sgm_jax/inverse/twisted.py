"""The twisted diffusion sampler: sequential Monte Carlo, exact as particles and steps grow in number."""

from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sgm_jax.inverse.measurement import Measurement
from sgm_jax.inverse.method import AbstractMethod
from sgm_jax.inverse.operator import AbstractLinear
from sgm_jax.inverse.pigdm import PiGDM, whiten
from sgm_jax.sampling import AbstractNoiseSolver, AbstractProcess
from sgm_jax.sampling.stochastic import step_levels, step_noise
from sgm_jax.shapes import Batch, PerExample, PRNGKey, PRNGKeys, sum_per_example


class TwistedDiffusion(AbstractMethod):
    """Guided particles that are weighted by what the guidance gets wrong, and resampled where few of them count.

    The draws of one measurement are its particles, so they are not independent: ask for as many as can be afforded.
    Proposals are guided by `guide`, whose Gaussian likelihood is the twisting function. The last noise level must not
    be 0.

    Args:
        guide: the guidance; its `prior_std` also gives how much of the noise the measurement allows.

    References:
        Wu et al., Practical and Asymptotically Exact Conditional Sampling in Diffusion Models, 2023, algorithm 1.
    """

    guide: PiGDM = PiGDM()
    needs: ClassVar[type] = AbstractLinear

    def solver(self, measurement: Measurement) -> diffrax.AbstractSolver:
        return TwistedSolver(self.guide, measurement)


class TwistedSolver(AbstractNoiseSolver):
    """The solver of `TwistedDiffusion`; its state holds what was last evaluated, and the particles' log weights.

    The unguided transition is SDE-DPM-Solver++(2M)'s: a Gaussian of variance `c = s1**2 v`, `v = 1 - (s1 / s0)**2`. The
    proposal moves its mean by `v s0**2` times the guidance and takes from its covariance what the twisting function at
    `s1` does, where the estimate there moves by `k = r**2 / s1**2` times the state: `C^-1 = 1 / c + k**2 A^T W A` with
    `W = (r**2 A A^T + noise_std**2)^-1`.
    """

    guide: PiGDM
    measurement: Measurement
    evaluations_per_step: ClassVar[int] = 1
    evaluations_at_start: ClassVar[int] = 1

    def order(self, terms):
        return 2

    def look(self, process: AbstractProcess, s: Array, xbar: Batch) -> tuple[Batch, Batch, PerExample]:
        """Return the denoised estimate, the gradient of the log twisting function, and its value up to a constant."""

        def twist(operator, y, s, denoised):
            residual = y - operator.forward(denoised)
            white = self.guide.whiten(operator, s, residual)
            return -0.5 * jnp.vdot(residual, white).real, operator.adjoint(white)

        denoised, pullback = jax.vjp(lambda xbar: process.denoised(s, xbar), xbar)
        log_twist, slope = self.measurement.map(twist, jnp.broadcast_to(s, xbar.shape[:1]), denoised)
        return denoised, pullback(slope)[0], log_twist

    def spread(self, keys: PRNGKeys, s: Array, variance: Array, noise: Batch) -> tuple[Batch, PerExample]:
        """Return deviations of the proposal's covariance `C`, and `k**2 |A deviation|**2` in the metric `W`.

        Drawn from the unguided transition, then corrected by a measurement of its own: Matheron's rule.
        """
        r2 = self.guide.variance(s)
        k = r2 / s**2

        def one(operator, y, key, noise):
            fake_key, noise_key = jax.random.split(key)
            fake = operator.measure(noise_key, jnp.sqrt(r2) * jax.random.normal(fake_key, noise.shape, noise.dtype))
            free = jnp.sqrt(variance) * noise
            white = whiten(operator, k**2 * variance + r2, fake - k * operator.forward(free))
            deviation = free + k * variance * operator.adjoint(white)
            seen = operator.forward(deviation)
            return deviation, k**2 * jnp.vdot(seen, self.guide.whiten(operator, s, seen)).real

        return self.measurement.map(one, keys, noise)

    def init(self, terms, t0, t1, y0, args):
        s = args.process.level(jnp.abs(t0)).astype(y0.dtype)
        seen = self.look(args.process, s, y0)
        # Past denoised estimate and past step in log s; a zero step marks that there is no past yet.
        return seen, jnp.zeros_like(y0), jnp.zeros((), y0.dtype), seen[-1], jnp.zeros((), jnp.int32)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        (denoised, slope, log_twist), past, past_h, log_weight, index = solver_state
        s0, s1, h = step_levels(t0, t1, y0, args)
        shrink = -jnp.expm1(-2 * h)
        variance = s1**2 * shrink
        keys = jax.vmap(jax.random.fold_in, (0, None))(args.solver_keys, index)
        deviation, narrower = self.spread(keys, s1, variance, step_noise(terms, t0, t1))
        push = shrink * s0**2 * slope
        ahead = jnp.where(past_h > 0, 0.5 * h / jnp.where(past_h > 0, past_h, 1), 0)
        extrapolated = denoised + ahead * (denoised - past)
        y = y0 + shrink * (extrapolated - y0) + push + deviation
        # The unguided transition's log density less the proposal's.
        log_ratio = 0.5 * narrower - sum_per_example(push * (0.5 * push + deviation)) / variance
        seen = self.look(args.process, s1, y)
        log_weight = log_weight + log_ratio + seen[-1] - log_twist
        count, ends = len(self.measurement.y), t1 >= terms.terms[1].control.t1
        choose = jax.vmap(lambda key, log_weight: resample(key, log_weight, ends), (0, 1), 1)
        chosen, log_weight = choose(keys[:count], log_weight.reshape(-1, count))
        chosen = (chosen * count + jnp.arange(count)).reshape(-1)
        y, seen, past = jax.tree.map(lambda particles: particles[chosen], (y, seen, denoised))
        return (
            y,
            None,
            dict(y0=y0, y1=y),
            (seen, past, h, log_weight.reshape(-1), index + 1),
            diffrax.RESULTS.successful,
        )


def resample(key: PRNGKey, log_weight: Float[Array, " n"], ends: Array) -> tuple[Int[Array, " n"], Float[Array, " n"]]:
    """Resample where fewer than half of the particles count, or where the run ends: indices, new log weights."""
    count = len(log_weight)
    effective = 1 / jnp.sum(jax.nn.softmax(log_weight) ** 2)
    drawn = systematic(key, log_weight), jnp.zeros_like(log_weight)
    kept = jnp.arange(count), log_weight
    return jax.tree.map(lambda a, b: jnp.where(ends | (effective < 0.5 * count), a, b), drawn, kept)


def systematic(key: PRNGKey, log_weight: Float[Array, " n"]) -> Int[Array, " n"]:
    """Draw `n` indices by systematic resampling: each `n` times its weight, rounded up or down."""
    weights = jnp.cumsum(jax.nn.softmax(log_weight))
    count = len(log_weight)
    positions = (jnp.arange(count) + jax.random.uniform(key)) / count
    return jnp.clip(jnp.searchsorted(weights, positions), 0, count - 1)
