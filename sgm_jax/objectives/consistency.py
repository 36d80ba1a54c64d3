"""Consistency models learned between adjacent noise levels: by distillation, or from data alone.

A consistency function takes every point of a trajectory of the probability flow to its end, the data. Its losses
compare what the network, the student, makes of a noisy example with what a copy of it, the target, makes of a less
noisy one on the same trajectory. Both are denoisers `(t, x) -> x0 estimate` [b, ...] such as `NetworkScore.denoised`,
and closures over one dropout key, so that they drop the same. No gradient goes through the target.

The levels are those of a Karras schedule over the SDE's range; how many there are may depend on the step of training.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from sgm_jax.objectives.times import KarrasTimes, Times
from sgm_jax.score import as_noise
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, Level, PerExample, PRNGKey, ScoreFn, dimension, expand, sum_per_example

Denoiser = Callable[[Level, Batch], Batch]
Distance = Callable[[Batch, Batch], PerExample]
# Functions (s of the lower level, s of the upper one) -> factor on the distance.
PairWeighting = Callable[[PerExample, PerExample], PerExample]
# Functions (sde, score_fn, upper time, lower time, x) -> x at the lower time.
TeacherStep = Callable[[AbstractSDE, ScoreFn, PerExample, PerExample, Batch], Batch]


# ------------------------------------------------------------------------------------------------------- distances


def l1(a: Batch, b: Batch) -> PerExample:
    """Return the mean of the absolute differences."""
    return sum_per_example(jnp.abs(a - b)) / dimension(a)


def l2(a: Batch, b: Batch) -> PerExample:
    """Return the mean of the squared differences."""
    return sum_per_example(jnp.square(a - b)) / dimension(a)


class PseudoHuber(eqx.Module):
    """The distance `sqrt(|a - b|**2 + c**2) - c`, quadratic below `c` and the Euclidean one above.

    Args:
        c: where it turns, in data units; `0.00054 sqrt(d)` for `d` dimensions unless given.

    References:
        Song and Dhariwal, Improved Techniques for Training Consistency Models, 2023, section 3.3.
    """

    c: float | None = None

    def __call__(self, a: Batch, b: Batch) -> PerExample:
        c = 0.00054 * dimension(a) ** 0.5 if self.c is None else self.c
        square = sum_per_example(jnp.square(a - b))
        # The difference of the two, without its rounding where it is small.
        return square / (jnp.sqrt(square + c**2) + c)


DISTANCES = {"l1": l1, "l2": l2, "pseudo_huber": PseudoHuber()}


# ----------------------------------------------------------------------------------------------- pairs of levels


def uniform_pairs(low: PerExample, high: PerExample) -> PerExample:
    """Weigh every pair of levels alike."""
    return jnp.ones_like(high)


def inverse_gap(low: PerExample, high: PerExample) -> PerExample:
    """Weigh a pair by the inverse of the distance of its levels (Song and Dhariwal, 2023, section 3.5)."""
    return 1 / (high - low)


PAIR_WEIGHTINGS = {"inverse_gap": inverse_gap, "uniform": uniform_pairs}


def adjacent(
    sde: AbstractSDE, t: PerExample, count: int | Int[Array, ""], rho: float = 7.0
) -> tuple[PerExample, PerExample]:
    """Return the ends of the step that holds `t`, of the Karras schedule of `count` levels over the SDE's range.

    Args:
        sde: the SDE.
        t: times [b].
        count: number of levels, at least 2.
        rho: the schedule's exponent.

    Returns:
        The times of the lower and of the upper level [b].
    """
    low, high = (sde.s(end) ** (1 / rho) for end in (sde.t_min, sde.t_max))
    place = (sde.s(t) ** (1 / rho) - low) / (high - low) * (count - 1)
    index = jnp.clip(jnp.floor(place), 0, count - 2)
    lower, upper = (sde.t((low + i / (count - 1) * (high - low)) ** rho) for i in (index, index + 1))
    return jnp.clip(lower, sde.t_min, sde.t_max), jnp.clip(upper, sde.t_min, sde.t_max)


# ---------------------------------------------------------------------------------------------------- teacher's steps


def euler_step(sde: AbstractSDE, score_fn: ScoreFn, high: PerExample, low: PerExample, x: Batch) -> Batch:
    """Return where Euler's method (DDIM) on the probability flow leads: one evaluation."""
    s0, s1, xbar = sde.s(high), sde.s(low), x / expand(sde.alpha(high), x)
    return expand(sde.alpha(low), x) * (xbar + expand(s1 - s0, x) * as_noise(sde, score_fn)(s0, xbar))


def heun_step(sde: AbstractSDE, score_fn: ScoreFn, high: PerExample, low: PerExample, x: Batch) -> Batch:
    """Return where Heun's method on the probability flow leads: two evaluations."""
    noise = as_noise(sde, score_fn)
    s0, s1, xbar = sde.s(high), sde.s(low), x / expand(sde.alpha(high), x)
    first = noise(s0, xbar)
    second = noise(s1, xbar + expand(s1 - s0, x) * first)
    return expand(sde.alpha(low), x) * (xbar + expand(s1 - s0, x) * (first + second) / 2)


TEACHER_STEPS = {"euler": euler_step, "heun": heun_step}


# -------------------------------------------------------------------------------------------------------------- losses


def consistency_distillation(
    key: PRNGKey,
    sde: AbstractSDE,
    student: Denoiser,
    target: Denoiser,
    score_fn: ScoreFn,
    x0: Batch,
    *,
    levels: int | Int[Array, ""] = 18,
    rho: float = 7.0,
    times: Times = KarrasTimes(),  # noqa: B008 (an immutable value)
    distance: Distance = l2,
    weighting: PairWeighting = uniform_pairs,
    step: TeacherStep = heun_step,
) -> PerExample:
    """Compute the loss of consistency distillation: the lower point of each pair is where the teacher's step leads.

    `w(s', s) d(f(t, x_t), f_target(t', x'))` with `x'` a step of the teacher's probability flow from `x_t`.

    Args:
        key: PRNG key for times and noise.
        sde: the forward process.
        student: denoiser that is trained.
        target: its copy: the same parameters, or their moving average.
        score_fn: the teacher's score function.
        x0: clean data [b, ...].
        levels: number of noise levels.
        rho: the exponent of their schedule.
        times: which of their steps are drawn, by a time in each: uniformly unless given.
        distance: `(a, b) -> [b]`.
        weighting: a function `(s', s) -> [b]` of the noise levels of a pair.
        step: a step of the teacher, such as `euler_step` or `heun_step`.

    Returns:
        Losses [b].

    References:
        Song, Dhariwal, Chen, Sutskever, Consistency Models, 2023, algorithm 2.
    """
    low, high, noise = _pairs(key, sde, x0, levels, rho, times)
    x = sde.perturb(high, x0, noise)
    return _compare(sde, student, target, high, x, low, step(sde, score_fn, high, low, x), distance, weighting)


def consistency_training(
    key: PRNGKey,
    sde: AbstractSDE,
    student: Denoiser,
    target: Denoiser,
    x0: Batch,
    *,
    levels: int | Int[Array, ""] = 18,
    rho: float = 7.0,
    times: Times = KarrasTimes(),  # noqa: B008 (an immutable value)
    distance: Distance = l2,
    weighting: PairWeighting = uniform_pairs,
) -> PerExample:
    """Compute the loss of consistency training: both points of each pair are the same example with the same noise.

    The improved techniques are `times=TruncatedLogNormalTimes(-1.1, 2.0)`, `distance=PseudoHuber()`,
    `weighting=inverse_gap`, the student's own parameters in the target, and `levels=DoublingLevels(...)(step)`.

    Args:
        key: as of `consistency_distillation`, like everything else here.
        sde: the forward process.
        student: denoiser that is trained.
        target: its copy.
        x0: clean data [b, ...].
        levels: number of noise levels.
        rho: the exponent of their schedule.
        times: which of their steps are drawn.
        distance: `(a, b) -> [b]`.
        weighting: a function `(s', s) -> [b]`.

    Returns:
        Losses [b].

    References:
        Song, Dhariwal, Chen, Sutskever, Consistency Models, 2023, algorithm 3.
        Song and Dhariwal, Improved Techniques for Training Consistency Models, 2023, table 1.
    """
    low, high, noise = _pairs(key, sde, x0, levels, rho, times)
    x, lower = sde.perturb(high, x0, noise), sde.perturb(low, x0, noise)
    return _compare(sde, student, target, high, x, low, lower, distance, weighting)


def _pairs(key, sde, x0, levels, rho, times):
    time_key, noise_key = jax.random.split(key)
    low, high = adjacent(sde, times(time_key, sde, x0.shape[0]), levels, rho)
    return low, high, jax.random.normal(noise_key, x0.shape, x0.dtype)


def _compare(sde, student, target, high, x, low, lower, distance, weighting):
    wanted = jax.lax.stop_gradient(target(low, lower))
    return weighting(sde.s(low), sde.s(high)) * distance(student(high, x), wanted)
