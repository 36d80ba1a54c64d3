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
    whole costs some `2 substeps` runs of the sampler. With `rounds` the levels are searched too, for one run a try.

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
        substeps: steps of `UniPC(3)` for each of the steps, for the process's own states.
        rounds: rounds of a pattern search, in each of which every level is moved up and down and left where the error
            at the end is smallest: `2 (steps - 1)` tries.

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
    final = "tweedie" if levels[-1] > 0 else "none"
    flow = _Flow(key, process, shape, levels, substeps)
    begun = TabulatedMultistep(adams_bashforth(levels, order=min(2, memory), memory=memory))
    before = flow.error(sample(key, process, shape, solver=begun, schedule=levels, final=final).x)

    def fit(levels):
        return _fit(process, flow, levels, memory, ridge, reweightings)

    weights, after = fit(levels)
    for stride in 0.3 * 0.5 ** np.arange(rounds):
        for n, sign in itertools.product(range(1, steps), (-1, 1)):
            moved = levels.copy()
            # A last level of zero counts as far below the one before as that lies below its own last.
            below = levels[n + 1] if levels[n + 1] > 0 else levels[n] ** 2 / levels[n - 1]
            moved[n] *= ((levels[n - 1] if sign > 0 else below) / levels[n]) ** stride
            trial, error = fit(moved)
            if error < after:
                levels, weights, after = moved, trial, error
    return FittedSampler(levels, TabulatedMultistep(weights), final, before, after)


class _Flow:
    """The process's own states at any noise level, from one fine solution, by cubic Hermite interpolation."""

    def __init__(self, key, process, shape, levels, substeps):
        ends = np.append(levels[:-1], levels[-1] or level_range(process.sde)[0])
        parts = [np.geomspace(high, low, substeps + 1)[:-1] for high, low in pairwise(ends)]
        self.s = np.concatenate([*parts, ends[-1:]])
        solution = sample(key, process, shape, solver=UniPC(3), schedule=self.s, save=len(self.s))
        path, self.end = solution.trajectory, solution.x
        assert path is not None  # as every state is saved
        self.x = path.xt / expand(process.sde.alpha(process.sde.t(path.s)), path.xt)
        self.slope = (self.x - path.denoised) / expand(path.s, self.x)

    def __call__(self, s):
        if s == 0:
            return self.end
        i = min(int(np.searchsorted(-self.s, -s, side="right")) - 1, len(self.s) - 2)
        h = self.s[i + 1] - self.s[i]
        u = (s - self.s[i]) / h
        ends = (1 + 2 * u) * (1 - u) ** 2 * self.x[i] + u**2 * (3 - 2 * u) * self.x[i + 1]
        return ends + h * u * (1 - u) * ((1 - u) * self.slope[i] - u * self.slope[i + 1])

    def error(self, x) -> float:
        squares = jnp.mean((x - self.end).reshape(len(x), -1) ** 2, axis=1)
        return float(jnp.mean(jnp.log(squares)))


def _fit(process, flow, levels, memory, ridge, reweightings):
    """Return the coefficients on these levels, and the error at the end."""
    weights = adams_bashforth(levels, order=min(2, memory), memory=memory)
    x, past = flow(levels[0]), []
    for n, (now, then) in enumerate(pairwise(levels)):
        past = [_noise(process, jnp.asarray(now, x.dtype), x), *past][:memory]
        wanted = (flow(then) - x) / (then - now)
        weights[n, : len(past)] += _regress(past, wanted - _combine(weights[n], past), ridge, reweightings)
        x = x + (then - now) * _combine(weights[n], past)
    if levels[-1] > 0:
        x = x - levels[-1] * _noise(process, jnp.asarray(levels[-1], x.dtype), x)
    return weights, flow.error(x)


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
        weights = 1 / np.maximum(squares, 0.1 * np.median(squares) + np.finfo(float).tiny)
    return coefficients
