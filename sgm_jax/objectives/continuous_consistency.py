"""Consistency models in continuous time: the limit of infinitely many noise levels.

In the limit the loss between adjacent levels is the product of the student's output `f` with its derivative along a
trajectory of the probability flow, which forward-mode differentiation gives. In the angle `u = arctan(s / c)`, with `c`
the data's standard deviation, the derivative is weighted as

    g = cos(u) df/du = sqrt(s**2 + c**2) df/ds,

everything here in canonical coordinates, where the trajectory is `d(x / alpha) / ds = noise`. EDM's preconditioning is
that of the paper's network, `f = cos(u) x - sin(u) c F` for the variance-preserving `x`, but for the sign of `F`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sgm_jax.objectives.adaptive import adaptively_weighted
from sgm_jax.objectives.consistency import Denoiser
from sgm_jax.objectives.times import Times, TruncatedLogNormalTimes
from sgm_jax.score import as_denoiser
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, PerExample, PRNGKey, ScoreFn, expand, sum_per_example

_TIMES = TruncatedLogNormalTimes(mean=-1.0, std=1.4)


def normalised(g: Batch, c: float = 0.1) -> Batch:
    """Return `g / (|g| + c)`, the norm that of an example: the tangent as the paper's loss takes it."""
    return g / expand(jnp.sqrt(sum_per_example(jnp.square(g))) + c, g)


def continuous_consistency_distillation(
    key: PRNGKey,
    sde: AbstractSDE,
    student: Denoiser,
    score_fn: ScoreFn,
    x0: Batch,
    *,
    data_scale: float = 0.5,
    times: Times = _TIMES,
    warmup: float | Array = 1.0,
    tangent: Callable[[Batch], Batch] = normalised,
    log_weight: Callable[[PerExample], PerExample] | None = None,
) -> PerExample:
    """Compute the loss of continuous-time consistency distillation.

    `|(f - stopgrad(f)) / (c sin(u)) + tangent(g)|**2`, whose value is that of the tangent alone while its gradient
    drives `f` against it.

    Args:
        key: PRNG key for times and noise.
        sde: the forward process.
        student: denoiser `(t, x) -> x0 estimate` that is trained, and the identity at no noise.
        score_fn: the teacher's score function.
        x0: clean data [b, ...].
        data_scale: `c`, the standard deviation of the data, in data units.
        times: a function `(key, sde, count) -> t` [count].
        warmup: share of the tangent's unstable part, from 0 to 1 within the first 10,000 steps in the paper. At 0 the
            loss is that of denoising.
        tangent: what is made of `g`, an array [b, ...].
        log_weight: a function `s -> w` [b] of the noise level that is trained beside the student, such as
            `functools.partial(objectives.log_weight, weights)`: the loss is then `exp(w) |...|**2 - w`.

    Returns:
        Losses [b].

    References:
        Lu and Song, Simplifying, Stabilizing and Scaling Continuous-Time Consistency Models, 2024, algorithm 1.
    """
    denoised = as_denoiser(sde, score_fn)
    return _loss(key, sde, student, denoised, x0, data_scale, times, warmup, tangent, log_weight)


def continuous_consistency_training(
    key: PRNGKey,
    sde: AbstractSDE,
    student: Denoiser,
    x0: Batch,
    *,
    data_scale: float = 0.5,
    times: Times = _TIMES,
    warmup: float | Array = 1.0,
    tangent: Callable[[Batch], Batch] = normalised,
    log_weight: Callable[[PerExample], PerExample] | None = None,
) -> PerExample:
    """Compute the loss of continuous-time consistency training, with the data in place of the teacher's estimate.

    Args:
        key: as of `continuous_consistency_distillation`, like everything else here.
        sde: the forward process.
        student: denoiser that is trained.
        x0: clean data [b, ...].
        data_scale: `c`.
        times: a function `(key, sde, count) -> t` [count].
        warmup: share of the tangent's unstable part.
        tangent: what is made of it.
        log_weight: a function `s -> w` [b] that is trained, or None.

    Returns:
        Losses [b].
    """
    return _loss(key, sde, student, lambda t, x: x0, x0, data_scale, times, warmup, tangent, log_weight)


def _loss(key, sde, student, denoised, x0, data_scale, times, warmup, tangent, log_weight):
    time_key, noise_key = jax.random.split(key)
    t = times(time_key, sde, x0.shape[0])
    x = sde.perturb(t, x0, jax.random.normal(noise_key, x0.shape, x0.dtype))
    f, g = weighted_tangent(sde, student, t, x, denoised(t, x), data_scale, warmup)
    s = sde.s(t)
    gain = expand(jnp.hypot(s, data_scale) / (data_scale * s), f)  # 1 / (c sin(u))
    error = gain * (f - jax.lax.stop_gradient(f)) + jax.lax.stop_gradient(tangent(g))
    losses = sum_per_example(jnp.square(error))
    return losses if log_weight is None else adaptively_weighted(losses, log_weight(s))


def weighted_tangent(
    sde: AbstractSDE,
    student: Denoiser,
    t: PerExample,
    x: Batch,
    denoised: Batch,
    data_scale: float,
    warmup: float | Array = 1.0,
) -> tuple[Batch, Batch]:
    """Return the student's output `f` and the tangent `g = cos(u) df/du` along the probability flow, each [b, ...].

    With a `warmup` below one, `g` is drawn by as much to `cos(u)**2 / sin(u) (f - denoised) / c`, its part that does
    not hold the network's derivative.

    Args:
        sde: the forward process.
        student: denoiser `(t, x) -> x0 estimate`.
        t: times [b].
        x: noisy data [b, ...].
        denoised: the denoised estimate that the flow is made of [b, ...].
        data_scale: `c`.
        warmup: share of the part with the derivative.
    """
    s = sde.s(t)
    radius, xbar = jnp.hypot(s, data_scale), x / expand(sde.alpha(t), x)
    noise = (xbar - denoised) / expand(s, x)

    def canonical(s, xbar):
        t = sde.t(s)
        return student(t, expand(sde.alpha(t), xbar) * xbar)

    f, whole = jax.jvp(canonical, (s, xbar), (radius, expand(radius, x) * noise))
    plain = expand(data_scale**2 / (radius * s), x) * (f - denoised)
    return f, plain + warmup * (whole - plain)
