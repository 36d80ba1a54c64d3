"""Reflow: a new flow along straight lines between the ends of another one."""

from typing import Any

from sgm_jax.objectives.times import Times, UniformTimes
from sgm_jax.objectives.weightings import Weighting, as_weighting
from sgm_jax.sampling import ProbabilityFlow, sample
from sgm_jax.sampling.schedules import resolve_levels
from sgm_jax.sampling.solve import start, streams
from sgm_jax.score import evaluate
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import (
    Batch,
    PerExample,
    PRNGKey,
    PRNGKeys,
    ScoreFn,
    expand,
    per_example_keys,
    sum_per_example,
)


def reflow_pairs(
    key: PRNGKey | PRNGKeys, process: ProbabilityFlow, shape: tuple[int, ...], **options: Any
) -> tuple[Batch, Batch]:
    """Draw samples [b, ...] of a flow, and for each the noise that leads straight to where the flow came from.

    A flow that starts at `x_S` in canonical coordinates and ends at the sample `x0` gives the noise `(x_S - x0) / S`:
    on the line `x0 + s noise` between the two lie all states of the new flow, so a single Euler step takes it to its
    end. As this holds in canonical coordinates, the flows may be of any two SDEs that have the level `S`.

    Args:
        key: one PRNG key, or one an example [b].
        process: the flow.
        shape: shape of the samples [b, ...].
        **options: of `sample`, such as `steps`.

    References:
        Liu et al., Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow, 2022, section 2.
    """
    sde, keys = process.sde, per_example_keys(key, shape[0])
    adaptive = options.get("rtol") is not None
    levels = resolve_levels(sde, options.get("schedule"), options.get("steps"), adaptive)
    top = levels[0]
    xbar = start(sde, streams(keys)[0], top, None, shape)
    x0 = sample(keys, process, shape, x_init=xbar * sde.alpha(sde.t(top)), **options).x
    return x0, (xbar - x0) / top


def reflow(
    key: PRNGKey,
    sde: AbstractSDE,
    score_fn: ScoreFn,
    x0: Batch,
    noise: Batch,
    *,
    weighting: str | Weighting = "flow",
    times: Times = UniformTimes(),  # noqa: B008 (an immutable value)
) -> PerExample:
    """Compute the loss of each pair of sample and noise: denoising score matching with a noise that belongs to `x0`.

    With `RectifiedFlow`, uniform times and the weighting "flow" it is half of `|velocity - (noise - x0)|**2`.

    Args:
        key: PRNG key for times.
        sde: the forward process of the new flow.
        score_fn: `score_fn(t, x)` with `t` [b].
        x0: samples [b, ...].
        noise: the noise that belongs to each [b, ...], as from `reflow_pairs`.
        weighting: a name in `WEIGHTINGS` or a function `(sde, t) -> [b]`.
        times: a function `(key, sde, count) -> t` [count].

    Returns:
        Losses [b].

    References:
        Liu et al., 2022, eq. 1.
    """
    t = times(key, sde, x0.shape[0])
    error = expand(sde.sigma(t), x0) * evaluate(score_fn, t, sde.perturb(t, x0, noise)) + noise
    return 0.5 * as_weighting(weighting)(sde, t) * sum_per_example(error**2)
