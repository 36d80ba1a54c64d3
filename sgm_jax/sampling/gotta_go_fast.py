"""Gotta Go Fast: the improved Euler method for the reverse SDE, and the step control published with it."""

from collections.abc import Callable
from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array

from sgm_jax.sampling.abstract import AbstractCountedSolver
from sgm_jax.sampling.corrector import Context
from sgm_jax.sampling.noise import per_example_noise
from sgm_jax.shapes import Batch

# How a step gets its Brownian increment: (terms, t0, t1, y, args) -> increment [b, ...].


def path_increment(terms, t0: Array, t1: Array, y: Batch, args: Context) -> Batch:
    """Return the increment of the process's Brownian path: a step that is retried stays on its path."""
    return terms.terms[1].contr(t0, t1)


def redrawn_increment(terms, t0: Array, t1: Array, y: Batch, args: Context) -> Batch:
    """Return a fresh increment for each step tried, as published.

    Rejecting the draws whose error is large favours the others, so the samples are biased by the rejections.
    """
    keys = args.solver_keys
    for time in (t0, t1):
        bits = jax.lax.bitcast_convert_type(time.astype(jnp.float32), jnp.uint32)
        keys = jax.vmap(jax.random.fold_in, (0, None))(keys, bits)
    return jnp.sqrt(t1 - t0).astype(y.dtype) * per_example_noise(keys, 0, y.shape).astype(y.dtype)


class GottaGoFast(AbstractCountedSolver, diffrax.AbstractItoSolver, diffrax.AbstractAdaptiveSolver):
    """The improved Euler method for additive noise, with Euler's as its error estimate; two evaluations a step.

    With the increment `w` of the step, `k1 = h f(t0, x) + g(t0) w` and `k2 = h f(t1, x + k1) + g(t1) w`,

        x' = x + k1,   x'' = x + (k1 + k2) / 2,   error = x'' - x'.

    It returns `x''`. A step that ends at zero noise is Euler's. The publication integrates in the SDE's own time
    (`ReverseSDE(chart=OwnTime())`), controls the steps by its own rule (`PublishedControl`), one sequence of steps
    an example (`jax.vmap` over `sample` with batches of one), and draws anew after a rejection (`redrawn_increment`);
    each is a choice of its own here. The default keeps to one Brownian path, which a rejection does not bias.

    Args:
        increment: `path_increment` or `redrawn_increment`.

    References:
        Jolicoeur-Martineau et al., Gotta Go Fast When Generating Data with Score-Based Models, 2021, algorithm 1.
    """

    increment: Callable[..., Batch] = path_increment
    term_structure: ClassVar = diffrax.MultiTerm[tuple[diffrax.ODETerm, diffrax.AbstractTerm]]
    evaluations_per_step: ClassVar[int] = 2

    def order(self, terms):
        return 2

    def strong_order(self, terms):
        return 1

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        drift, diffusion = terms.terms
        w = self.increment(terms, t0, t1, y0, args)
        slope = lambda t, y: drift.vf_prod(t, y, args, t1 - t0) + diffusion.vf_prod(t, y, args, w)
        k1 = slope(t0, y0)
        ends = args.process.level(jnp.abs(t1)) > 0
        k2 = jnp.where(ends, slope(jnp.where(ends, t1, t0), y0 + k1), k1)
        error = 0.5 * (k2 - k1)
        y1 = y0 + k1 + error
        return y1, error, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful


def _rms(x: Array) -> Array:
    return jnp.sqrt(jnp.mean(jnp.square(x)))


class PublishedControl(diffrax.AbstractAdaptiveStepSizeController):
    """The step control of Gotta Go Fast, for `sample(..., controller=PublishedControl)`.

    A step is kept if `e = norm(error / max(atol, rtol max(|x'|, |x'_before|))) <= 1`, with the Euler solutions `x'` of
    this step and of the last one kept; the next step is `safety * h * e**-exponent`. Unlike `diffrax.PIDController`
    it may shrink a step that was kept, and its tolerances are the larger of absolute and relative.

    Args:
        rtol: relative tolerance.
        atol: absolute tolerance, in the units of the process's chart; published: 1/256 for data in [0, 1] under `VE`,
            1/128 for data in [-1, 1] under `VP`.
        norm: the norm of the scaled error; published: the root mean square over an example.
        safety: published: 0.9.
        exponent: published: 0.9.

    References:
        Jolicoeur-Martineau et al., 2021, algorithm 1.
    """

    rtol: float
    atol: float
    norm: Callable[[Array], Array] = _rms
    safety: float = 0.9
    exponent: float = 0.9

    def wrap(self, direction):
        return self

    def init(self, terms, t0, t1, y0, dt0, args, func, error_order):
        return t0 + dt0, y0

    def adapt_step_size(self, t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state):
        assert y_error is not None  # as the solver estimates it
        euler = y1_candidate - y_error
        allowed = jnp.maximum(self.atol, self.rtol * jnp.maximum(jnp.abs(euler), jnp.abs(controller_state)))
        scaled = self.norm(y_error / allowed)
        # A step whose error is not a number is retried at a tenth.
        scaled = jax.lax.stop_gradient(jnp.where(jnp.isfinite(scaled), scaled, 10.0))
        keep = scaled <= 1
        factor = self.safety * jnp.maximum(scaled, 1e-3) ** -self.exponent
        start = jnp.where(keep, t1, t0)
        end = start + (t1 - t0) * factor.astype(jnp.result_type(t0))
        state = jnp.where(keep, euler, controller_state)
        return keep, start, end, jnp.array(False), state, diffrax.RESULTS.successful
