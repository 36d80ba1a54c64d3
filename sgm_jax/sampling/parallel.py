"""Sampling in parallel over the steps: the whole trajectory at once, by fixed-point iteration."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from sgm_jax.sampling.noise import NoiseSource, per_example_noise
from sgm_jax.sampling.processes import AbstractProcess, ProbabilityFlow
from sgm_jax.sampling.schedules import Schedule, resolve_levels
from sgm_jax.sampling.solve import start, streams
from sgm_jax.shapes import Batch, PRNGKey, PRNGKeys, expand, per_example_keys


class ParallelSamples(eqx.Module):
    """What `sample_parallel` returns.

    Args:
        x: samples in data units [b, ...].
        rounds: calls of the score function one after another (scalar integer), the final denoising included.
        nfe: evaluations of the score function for each example (scalar integer), over all rounds.
    """

    x: Batch
    rounds: Int[Array, ""]
    nfe: Int[Array, ""]


def sample_parallel(
    key: PRNGKey | PRNGKeys,
    process: AbstractProcess,
    shape: tuple[int, ...],
    *,
    schedule: Schedule | Array | np.ndarray | None = None,
    steps: int | None = None,
    window: int | None = None,
    tolerance: float = 1e-4,
    data_scale: float = 1.0,
    x_init: Batch | None = None,
    final: str = "tweedie",
    noise: NoiseSource = per_example_noise,
) -> ParallelSamples:
    """Draw what `sample` draws with `diffrax.Euler()` (DDIM), in far fewer rounds of larger calls.

    All steps `x_{n+1} = F_n(x_n)` of a window are evaluated at once, then
    `x_{n+1} <- F_n(x_n) + a_n (new x_n - x_n)` is run through, which needs no evaluation; `a_n` estimates the slope
    of `F_n`, one number an example: from the last two rounds (the secant along the last change), or, where there is
    no past, from Gaussian data. Steps that no longer move leave the window, the first of them always, so there are
    never more rounds than steps.

    Args:
        key: one PRNG key, or one an example [b], used as `sample` uses it.
        process: a `ProbabilityFlow`, integrated in the chart `NoiseLevel`.
        shape: shape of the samples [b, ...].
        schedule: as for `sample`.
        steps: number of steps.
        window: number of steps evaluated in a round, all unless given. A round is one call of the score function on
            `window * b` examples.
        tolerance: root-mean-square change of an example in a round up to which a step counts as done, in units of
            `hypot(s, data_scale)`.
        data_scale: standard deviation of the data, in data units.
        x_init: where to start, in the SDE's own scale at the schedule's first level [b, ...]; the prior unless given.
        final: `"tweedie"` or `"none"`, as for `sample`.
        noise: the noise source.

    Returns:
        `ParallelSamples(x, rounds, nfe)`.

    Raises:
        ValueError: if the process is no `ProbabilityFlow`, or an argument is out of range.

    References:
        Shih et al., Parallel Sampling of Diffusion Models, 2023, algorithm 1.
        Tang et al., Accelerating Parallel Sampling of Diffusion Models, 2024, section 3.
    """
    if not isinstance(process, ProbabilityFlow):
        raise ValueError(f"process must be a ProbabilityFlow, got a {type(process).__name__}")
    process = ProbabilityFlow(process.sde, process.score_fn)
    levels = resolve_levels(process.sde, schedule, steps)
    window = len(levels) - 1 if window is None else window
    if not 1 <= window <= len(levels) - 1:
        raise ValueError(f"window must be between 1 and the number of steps {len(levels) - 1}, got {window}")
    if not (tolerance > 0 and data_scale > 0):
        raise ValueError(f"tolerance and data_scale must be > 0, got {tolerance} and {data_scale}")
    if final not in ("tweedie", "none"):
        raise ValueError(f"final must be 'tweedie' or 'none', got {final!r}")
    keys = streams(per_example_keys(key, shape[0]))
    xbar = start(process.sde, keys[0], levels[0], x_init, tuple(shape), noise)
    levels = jnp.asarray(levels, xbar.dtype)
    xbar, rounds = _iterate(process, levels, xbar, window, tolerance, data_scale)
    nfe = rounds * window
    if final == "tweedie":
        xbar, rounds, nfe = process.denoised(levels[-1], xbar), rounds + 1, nfe + 1
    return ParallelSamples(xbar, rounds, nfe)


@eqx.filter_jit
def _iterate(process, s, start, window, tolerance, scale):
    steps, batch = len(s) - 1, len(start)
    # Behind the last step come steps of no length, so that the window can run over the end.
    pad = lambda values, value: jnp.concatenate([values, jnp.full(window, value, s.dtype)])
    level, length = pad(s[:-1], s[-2]), pad(jnp.diff(s), 0.0)
    slope = pad(jnp.hypot(s[1:], scale) / jnp.hypot(s[:-1], scale), 1.0)
    unit = pad(jnp.hypot(s[1:], scale), jnp.inf)
    at = lambda values, offset: jax.lax.dynamic_slice_in_dim(values, offset, window)
    flat = start.reshape(batch, -1)

    def advance(x, offset):
        """Return `F_n(x_n)` for all steps of the window [w, b, d]."""
        levels = jnp.repeat(at(level, offset), batch)
        estimate = process.noise(levels, x.reshape(-1, *start.shape[1:])).reshape(x.shape)
        return x + expand(at(length, offset), x) * estimate

    def run(first, slopes, rests):
        """Return `x_0` and all `x_{n+1} = slopes_n x_n + rests_n` [w + 1, b, d]."""
        after = lambda one, two: (two[0] * one[0], two[0] * one[1] + two[1])
        slopes, rests = jax.lax.associative_scan(after, (slopes, rests))
        return jnp.concatenate([first[None], slopes * first + rests])

    def shift(values, count, fill):
        """Drop the first `count` of [w, b, d], fill up behind."""
        index = jnp.arange(window) + count
        kept = jnp.take(values, index, axis=0, mode="clip")
        return jnp.where((index < window)[:, None, None], kept, fill)

    def round_(carry):
        offset, x, past, past_end, rounds = carry
        end = advance(x[:-1], offset)
        change = x[:-1] - past
        square = jnp.sum(change**2, -1, keepdims=True)
        floor = jnp.finfo(s.dtype).eps * jnp.sum(x[:-1] ** 2, -1, keepdims=True) ** 0.5
        secant = jnp.sum((end - past_end) * change, -1, keepdims=True) / jnp.maximum(square, 1e-30)
        slopes = jnp.where(square > floor**2, jnp.clip(secant, 0.0, 2.0), expand(at(slope, offset), square))
        rests = end - slopes * x[:-1]
        new = run(x[0], slopes, rests)
        moved = jnp.max(jnp.sqrt(jnp.mean((new - x)[1:] ** 2, -1)), axis=1) / at(unit, offset)
        count = jnp.maximum(1, jnp.sum(jnp.cumprod(moved <= tolerance)))
        slopes = shift(slopes, count, expand(at(slope, offset + count), slopes))
        ahead = run(new[count], slopes, shift(rests, count, 0.0))
        return offset + count, ahead, shift(x[:-1], count, ahead[:-1]), shift(end, count, 0.0), rounds + 1

    slopes = jnp.broadcast_to(slope[:window, None, None], (window, batch, 1))
    x = run(flat, slopes, jnp.zeros((window, *flat.shape), s.dtype))
    zero = jnp.zeros((), int)
    carry = zero, x, x[:-1], jnp.zeros_like(x[:-1]), zero
    _, x, _, _, rounds = jax.lax.while_loop(lambda carry: carry[0] < steps, round_, carry)
    return x[0].reshape(start.shape), rounds
