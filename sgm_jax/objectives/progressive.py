"""Progressive distillation: a student learns to take in one step what its teacher takes in two."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sgm_jax.objectives.times import stratified_quantiles
from sgm_jax.objectives.weightings import Weighting, as_weighting
from sgm_jax.score import as_noise
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, Level, PerExample, PRNGKey, ScoreFn, expand, sum_per_example


def two_steps_in_one(noise_fn: Callable[[Level, Batch], Batch], xbar: Batch, s0: Level, s1: Level, s2: Level) -> Batch:
    """Return the noise estimate [b, ...] with which one DDIM step from `s0` to `s2` ends where two by `s1` end.

    In canonical coordinates a DDIM step is Euler's, so the estimate is `(x_{s2} - x_{s0}) / (s2 - s0)`.

    Args:
        noise_fn: the teacher's `noise(s, x / alpha)`.
        xbar: states at `s0`, in canonical coordinates [b, ...].
        s0: canonical noise levels at the start, one or [b].
        s1: between the two steps.
        s2: at the end, 0 at the least.

    References:
        Salimans and Ho, Progressive Distillation for Fast Sampling of Diffusion Models, 2022, algorithm 2, appendix G.
    """

    def step(x, levels):
        now, then = levels
        return x + expand(then - now, x) * noise_fn(now, x), None

    # A loop, so that the teacher is compiled once.
    end, _ = jax.lax.scan(step, xbar, (jnp.stack([s0, s1]), jnp.stack([s1, s2])))
    return (end - xbar) / expand(s2 - s0, xbar)


def progressive_distillation(
    key: PRNGKey,
    sde: AbstractSDE,
    student: ScoreFn,
    teacher: ScoreFn,
    x0: Batch,
    *,
    levels: Float[Array | np.ndarray, " n"],
    stride: Int[Array, ""] | int = 1,
    weighting: str | Weighting = "truncated_snr",
) -> PerExample:
    """Compute the distillation loss of each example, at one of the student's levels drawn for it.

    `w(t) / 2 * |noise_student - noise_target|**2`, the target by `two_steps_in_one`; no gradient enters the teacher.

    Args:
        key: PRNG key for levels and noise.
        sde: the forward process.
        student: its `score_fn(t, x)` with `t` [b].
        teacher: its `score_fn(t, x)`.
        x0: clean data [b, ...].
        levels: decreasing canonical noise levels, the last of which may be 0. The teacher steps along every
            `stride`-th of them, the student along every `2 stride`-th.
        stride: as above; `2 stride` divides the number of steps. It may be traced.
        weighting: a name in `WEIGHTINGS` or a function `(sde, t) -> [b]`.

    Returns:
        Losses [b].

    References:
        Salimans and Ho, 2022, algorithm 2.
    """
    level_key, noise_key = jax.random.split(key)
    levels, count = jnp.asarray(levels, x0.dtype), (len(levels) - 1) // (2 * stride)
    step = jnp.floor(stratified_quantiles(level_key, len(x0)) * count).astype(int)
    first = 2 * stride * jnp.minimum(step, count - 1)
    s0, s1, s2 = (levels[first + k * stride] for k in range(3))
    xbar = x0 + expand(s0, x0) * jax.random.normal(noise_key, x0.shape, x0.dtype)
    target = jax.lax.stop_gradient(two_steps_in_one(as_noise(sde, teacher), xbar, s0, s1, s2))
    error = as_noise(sde, student)(s0, xbar) - target
    return 0.5 * as_weighting(weighting)(sde, sde.t(s0)) * sum_per_example(jnp.square(error))
