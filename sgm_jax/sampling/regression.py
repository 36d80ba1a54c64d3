"""Coefficients of a multistep solver by linear regression on the process's own trajectories."""

import itertools
from itertools import pairwise

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from sgm_jax.sampling.fitting import FittedSampler, starting_levels
from sgm_jax.sampling.multistep import UniPC
from sgm_jax.sampling.processes import ProbabilityFlow
from sgm_jax.sampling.schedules import Schedule, level_range
from sgm_jax.sampling.solve import sample
from sgm_jax.sampling.tabulated import TabulatedMultistep, adams_bashforth
from sgm_jax.shapes import PRNGKey, PRNGKeys, expand


def fit_coefficients(
    key: PRNGKey | PRNGKeys,
    process: ProbabilityFlow,
    shape: tuple[int, ...],
    steps: int,
    *,
    start: Schedule | NDArray | None = None,
    memory: int | None = None,
    ridge: float = 1e-5,
    reweightings: int = 2,
    substeps: int = 8,
    rounds: int = 0,
) -> FittedSampler:
    """Fit the coefficients of a multistep solver on given levels to a process, one step after the other.

    A step of a `TabulatedMultistep` is linear in its coefficients. Those of step `n` are the least-squares solution of
    `x_{n+1} = x_n + (s_{n+1} - s_n) sum_j weights[n, j] noise_{n-j}` for the process's own states at `s_{n+1}`, given
    the states and noise estimates that the fitted steps so far have led to. No derivative of the network is taken: the
    whole costs `substeps + 3` runs of the sampler. With `rounds` the levels are searched too, with a fit at each try.

    Args:
        key: one PRNG key, or one an example [b], of the calibration noise.
        process: the process.
        shape: shape of the calibration batch [b, ...].
        steps: number of steps.
        start: the levels, as in `fit_schedule`; without `rounds` they are kept, otherwise the first and the last are.
        memory: number of evaluations a step uses; all there are unless given.
        ridge: pull towards the second-order exponential Adams-Bashforth method, relative to the mean square of the
            noise estimates.
        reweightings: number of times that the regression is repeated with each example weighted by the inverse of
            its mean square error, so that a few that go astray do not rule it.
        substeps: steps of `UniPC(3)` that lead the process's own states over one step.
        rounds: rounds of a pattern search, in each of which every level is moved up and down and left where the error
            at the end is smallest; `2 (steps - 1)` fits each.

    Returns:
        `FittedSampler(schedule, solver, final, before, after)`, the last two the means over the examples of the
        logarithm of the mean square error at the end.

    Raises:
        ValueError: if `start` is no decreasing schedule of `steps` steps.

    References:
        Duan et al., Optimal Linear Subspace Search: Learning to Construct Fast and High-Quality Schedulers for
        Diffusion Models, 2023, section 3.
    """
    levels = starting_levels(process, steps, start)
    memory = steps if memory is None else memory
    process = ProbabilityFlow(process.sde, process.score_fn)

    def fit(levels):
        return _fit(key, process, shape, levels, memory, ridge, reweightings, substeps)

    best = fit(levels)
    before = best.before
    for stride in 0.3 * 0.5 ** np.arange(rounds):
        for n, sign in itertools.product(range(1, steps), (-1, 1)):
            moved = best.schedule.copy()
            moved[n] *= (moved[n - 1] / moved[n]) ** stride if sign > 0 else _below(moved, n) ** stride
            trial = fit(moved)
            if trial.after < best.after:
                best = trial
    return FittedSampler(best.schedule, best.solver, best.final, before, best.after)


def _below(levels, n) -> float:
    """Return the next level in units of level `n`; as far below it as the last is above, if it is zero."""
    return (levels[n + 1] if levels[n + 1] > 0 else levels[n] ** 2 / levels[n - 1]) / levels[n]


def _fit(key, process, shape, levels, memory, ridge, reweightings, substeps) -> FittedSampler:
    to_zero = levels[-1] == 0
    ends = np.append(levels[:-1], level_range(process.sde)[0] if to_zero else levels[-1])
    weights = adams_bashforth(levels, order=min(2, memory), memory=memory)
    sampler = dict(schedule=levels, final="none" if to_zero else "tweedie")
    fine = np.concatenate([*(np.geomspace(high, low, substeps + 1)[:-1] for high, low in pairwise(ends)), ends[-1:]])
    solution = sample(key, process, shape, solver=UniPC(3), schedule=fine, save=len(levels))
    alpha = process.sde.alpha(process.sde.t(solution.trajectory.s))
    states = solution.trajectory.xt / expand(alpha, solution.trajectory.xt)
    if to_zero:
        states = states.at[-1].set(solution.x)

    def error(weights):
        x = sample(key, process, shape, solver=TabulatedMultistep(weights), **sampler).x
        return float(jnp.mean(jnp.log(jnp.mean((x - solution.x).reshape(len(x), -1) ** 2, axis=1))))

    before = error(weights)
    x, past = states[0], []
    for n, (now, then) in enumerate(pairwise(levels)):
        past = [_noise(process, jnp.asarray(now, x.dtype), x), *past][:memory]
        wanted = (states[n + 1] - x) / (then - now)
        weights[n, : len(past)] += _regress(past, wanted - _combine(weights[n], past), ridge, reweightings)
        x = x + (then - now) * _combine(weights[n], past)
    return FittedSampler(levels, TabulatedMultistep(weights), sampler["final"], before, error(weights))


_noise = eqx.filter_jit(ProbabilityFlow.noise)


def _combine(weights, arrays):
    return sum(float(weight) * array for weight, array in zip(weights, arrays, strict=False))


def _regress(regressors, target, ridge, reweightings):
    """Return `c` [p] that minimises the mean square of `target - sum c_j regressors_j`, with robust weights."""
    design = np.stack([np.asarray(r, np.float64).reshape(len(r), -1) for r in regressors])
    target = np.asarray(target, np.float64).reshape(len(target), -1)
    weights = np.ones(len(target))
    for _ in range(reweightings + 1):
        normal = np.einsum("pbd,b,qbd->pq", design, weights, design, optimize=True)
        damped = normal + ridge * np.mean(np.diag(normal)) * np.eye(len(normal))
        coefficients = np.linalg.solve(damped, np.einsum("pbd,b,bd->p", design, weights, target, optimize=True))
        squares = np.mean((target - np.tensordot(coefficients, design, 1)) ** 2, axis=1)
        weights = 1 / np.maximum(squares, 0.1 * np.median(squares))
    return coefficients
