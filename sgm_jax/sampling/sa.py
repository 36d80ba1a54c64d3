"""SA-Solver: stochastic Adams methods on the denoised estimate, predictor and corrector."""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import ClassVar

import diffrax
import jax.numpy as jnp
from jaxtyping import Array

from sgm_jax.sampling.abstract import AbstractNoiseSolver
from sgm_jax.sampling.stochastic import exact_step, step_levels, step_noise
from sgm_jax.shapes import Level


def full_strength(s: Level) -> Array:
    """Return 1: the noise strength is the process's `eta` throughout."""
    return jnp.ones_like(s)


def within(low: float, high: float) -> Callable[[Level], Array]:
    """Return the strength that is 1 for noise levels from `low` to `high` (data units) and 0 elsewhere."""
    return lambda s: jnp.where((low <= s) & (s <= high), 1.0, 0.0)


class SASolver(AbstractNoiseSolver):
    """SA-Solver, one evaluation a step.

    The denoised estimate inside the exact solution of the step is the polynomial in `log s` through the last
    `predictor` estimates (stochastic Adams-Bashforth). Once the next estimate is known the step is repeated with it,
    with the same noise, through `corrector` estimates (stochastic Adams-Moulton); that happens at the start of the
    next step, so the last state is the predictor's, as in UniPC. Early steps use the estimates there are, a step that
    ends at zero noise the last one alone. Without noise the predictor's order is the number of its estimates; with
    noise the weak order stays 2, as the denoised estimate is then rough along the path, and more estimates only lower
    the error.

    Args:
        predictor: estimates the predictor uses, 1 to 3.
        corrector: estimates the corrector uses, the new one included, 1 to 4; 0 for no corrector.
        tau: `tau(s)`, multiplies the process's `eta`, held over each step at its value where the step begins.

    Raises:
        ValueError: if `predictor` or `corrector` is out of range.

    References:
        Xue et al., SA-Solver: Stochastic Adams Solver for Fast Sampling of Diffusion Models, 2023,
        algorithm 1. The code published with it changes the weights of the two-point methods by terms of higher order;
        these are the paper's.
    """

    predictor: int = 3
    corrector: int = 3
    tau: Callable[[Level], Array] = full_strength
    evaluations_per_step: ClassVar[int] = 1

    def __check_init__(self):
        if self.predictor not in (1, 2, 3):
            raise ValueError(f"predictor must be 1, 2 or 3 estimates, got {self.predictor}")
        if self.corrector not in (0, 1, 2, 3, 4):
            raise ValueError(f"corrector must be 0 to 4 estimates, got {self.corrector}")

    def order(self, terms):
        return self.predictor

    def init(self, terms, t0, t1, y0, args):
        kept = max(self.predictor, self.corrector) - 1
        past = (jnp.zeros_like(y0),) * kept
        # Where the past estimates lie, in -log s from the step's start; made up at first, but distinct.
        nodes = -jnp.arange(1, kept + 1, dtype=y0.dtype)
        known = jnp.zeros((), jnp.int32)
        # The last step's length, power 1 + eta**2 and integral, to be corrected.
        last = jnp.ones((), y0.dtype), jnp.ones((), y0.dtype), jnp.zeros_like(y0)
        return past, nodes, known, last

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        past, nodes, known, (last_h, last_power, last_integral) = solver_state
        s0, s1, h = step_levels(t0, t1, y0, args)
        estimates = (args.process.denoised(s0, y0), *past)
        nodes = jnp.concatenate([jnp.zeros_like(nodes, shape=(1,)), nodes])
        if self.corrector:
            used = jnp.minimum(self.corrector, known + 1)
            weights = adams_weights(nodes[: self.corrector] + last_h, last_h, last_power, used)
            y0 = y0 + jnp.where(known > 0, _combine(weights, estimates) - last_integral, 0.0)
        eta = jnp.asarray(args.process.eta * self.tau(s0), y0.dtype)
        power = 1 + eta**2
        used = jnp.where(s1 > 0, jnp.minimum(self.predictor, known + 1), 1)
        integral = _combine(adams_weights(nodes[: self.predictor], h, power, used), estimates)
        y1 = exact_step(y0, integral, s1, h, eta, step_noise(terms, t0, t1))
        state = estimates[:-1], nodes[:-1] - h, known + 1, (h, power, integral)
        return y1, None, dict(y0=y0, y1=y1), state, diffrax.RESULTS.successful


def adams_weights(nodes: Array, h: Array, power: Array, used: Array) -> Array:
    """Return the weights of the exponential Adams method on the first `used` of the nodes, zero for the others [n].

    `sum_j w_j D_j` is the integral of `power exp(-power (h - u)) D(u)` from 0 to `h`, for the polynomial `D` through
    the values `D_j` at the nodes.

    Args:
        nodes: where the values are, on the scale of `h` [n].
        h: length of the step.
        power: `1 + eta**2`.
        used: how many of the nodes to use, from 1 to n.
    """
    count = nodes.shape[0]
    # Integrating by parts, the moments of u**k follow from each other.
    moments = [-jnp.expm1(-power * h)]
    for k in range(1, count):
        moments.append(h**k - k / power * moments[-1])
    rows = []
    for size in range(1, count + 1):
        weights = [_lagrange(nodes[:size], j, moments) for j in range(size)]
        rows.append(jnp.stack(weights + [jnp.zeros_like(h)] * (count - size)))
    return jnp.stack(rows)[used - 1]


def _lagrange(nodes: Array, j: int, moments: Sequence[Array]) -> Array:
    """Integrate the polynomial that is 1 at node `j` and 0 at the others, given the moments."""
    polynomial = [jnp.ones_like(nodes[j])]
    for m in range(len(nodes)):
        if m != j:
            raised, same = [0.0, *polynomial], [*polynomial, 0.0]
            polynomial = [
                (high - nodes[m] * low) / (nodes[j] - nodes[m]) for high, low in zip(raised, same, strict=True)
            ]
    return functools.reduce(operator.add, (c * moment for c, moment in zip(polynomial, moments, strict=False)))


def _combine(weights: Array, estimates: Sequence[Array]) -> Array:
    return functools.reduce(operator.add, (weights[j] * estimates[j] for j in range(weights.shape[0])))
