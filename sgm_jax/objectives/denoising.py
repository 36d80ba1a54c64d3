"""Denoising score matching over noise levels.

Losses are `w(t) / 2 * |noise_estimate - noise|**2`, summed over an example's coordinates. The weighting `w` and the
distribution of the times are independent choices, each a function that can be replaced.
"""

import jax
import jax.numpy as jnp

from sgm_jax.objectives.times import Times, UniformTimes
from sgm_jax.objectives.weightings import Weighting, as_weighting
from sgm_jax.score import evaluate
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, PerExample, PRNGKey, ScoreFn, check_floating, expand, sum_per_example


def denoising_score_matching(
    key: PRNGKey,
    sde: AbstractSDE,
    score_fn: ScoreFn,
    x0: Batch,
    *,
    weighting: str | Weighting = "noise",
    times: Times = UniformTimes(),  # noqa: B008 (an immutable value)
) -> PerExample:
    """Compute the denoising score-matching loss of each example.

    `w(t) / 2 * |sigma score(t, x_t) + n|**2` with `x_t = alpha x0 + sigma n`.

    With `weighting="likelihood"` and uniform times, the mean times `t_max - t_min` is, up to a constant that no
    parameter enters, an upper bound on the negative log-likelihood in nats.

    Args:
        key: PRNG key for times and noise.
        sde: the forward process.
        score_fn: `score_fn(t, x)` with `t` [b].
        x0: clean data [b, ...].
        weighting: a name in `WEIGHTINGS` or a function `(sde, t) -> [b]`.
        times: a function `(key, sde, count) -> t` [count].

    Returns:
        Losses [b].

    Raises:
        ValueError: if the weighting's name is unknown, the data are integers, or the scores have another shape.

    References:
        Vincent, A Connection Between Score Matching and Denoising Autoencoders, 2011.
        Song et al., 2021, eq. 7.
    """
    weighting = as_weighting(weighting)
    check_floating("x0", x0)
    time_key, noise_key = jax.random.split(key)
    t = times(time_key, sde, x0.shape[0])
    noise = jax.random.normal(noise_key, x0.shape, x0.dtype)
    error = expand(sde.sigma(t), x0) * evaluate(score_fn, t, sde.perturb(t, x0, noise)) + noise
    return 0.5 * weighting(sde, t) * sum_per_example(jnp.square(error))
