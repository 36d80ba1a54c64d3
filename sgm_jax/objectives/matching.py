"""Score matching at one density: how far a score model is from the score of the data, in its several forms.

All estimate the Fisher divergence `1/2 E|score(x) - grad log p(x)|**2` up to a constant that no parameter enters, and
so have one minimiser. `score(x) -> [b, ...]` maps data to scores, each example by itself; losses are one number an
example, in nats per squared unit of the data. `over_noise_levels` applies any of them to noisy data.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sgm_jax.divergence import Exact, Projection, rademacher
from sgm_jax.objectives.times import Times, UniformTimes
from sgm_jax.objectives.weightings import Weighting, as_weighting
from sgm_jax.score import evaluate
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, PerExample, PRNGKey, ScoreFn, check_floating, sum_per_example

Score = Callable[[Batch], Batch]
Matching = Callable[[PRNGKey, Score, Batch], PerExample]


def explicit_score_matching(score: Score, true_score: Score, x: Batch) -> PerExample:
    """Return `1/2 |score(x) - true_score(x)|**2` [b]; its mean over data is the Fisher divergence.

    Args:
        score: the model.
        true_score: the score of the density that `x` was drawn from.
        x: data [b, ...].

    References:
        Hyvarinen, Estimation of Non-Normalized Statistical Models by Score Matching, 2005, eq. 2.
    """
    return 0.5 * sum_per_example(jnp.square(score(x) - true_score(x)))


def implicit_score_matching(score: Score, x: Batch) -> PerExample:
    """Return `1/2 |score(x)|**2 + div score(x)` [b], the divergence exactly: one more forward pass a dimension.

    References:
        Hyvarinen, 2005, eq. 4.
    """
    divergence = Exact()
    trace = divergence.estimates(divergence.vectors(None, x), lambda v: jax.jvp(score, (x,), (v,))[1])[0]
    return 0.5 * sum_per_example(jnp.square(score(x))) + trace


def denoising_at_level(key: PRNGKey, score: Score, x: Batch, sigma: float) -> PerExample:
    """Return `1/2 |score(x + sigma n) + n / sigma|**2` [b]: the score of the data with noise of one level added.

    Args:
        key: PRNG key of the noise.
        score: the model of the noisy data's score.
        x: clean data [b, ...].
        sigma: standard deviation of the noise, in data units.

    Raises:
        ValueError: if `sigma` is not positive.

    References:
        Vincent, A Connection Between Score Matching and Denoising Autoencoders, 2011, eq. 9.
    """
    if not sigma > 0:
        raise ValueError(f"sigma must be > 0, got {sigma}")
    noise = jax.random.normal(key, x.shape, x.dtype)
    return 0.5 * sum_per_example(jnp.square(score(x + sigma * noise) + noise / sigma))


def sliced_score_matching(
    key: PRNGKey, score: Score, x: Batch, *, slices: int = 1, projection: Projection = rademacher
) -> PerExample:
    """Return the mean over `slices` of `1/2 (v . score)**2 + v . grad(v . score)` [b].

    Args:
        key: PRNG key of the projections `v`.
        score: the model.
        x: data [b, ...].
        slices: number of projections an example.
        projection: `(key, shape) -> v` with `E[v v^T]` the identity.

    Raises:
        ValueError: if `slices` is below 1.

    References:
        Song et al., Sliced Score Matching, 2019, eq. 7.
    """

    def form(v):
        value, product = _quadratic(score, x, v)
        return 0.5 * jnp.square(sum_per_example(v * value)) + product

    return _over_slices(key, form, x, slices, projection)


def sliced_score_matching_vr(
    key: PRNGKey, score: Score, x: Batch, *, slices: int = 1, projection: Projection = rademacher
) -> PerExample:
    """Return the mean over `slices` of `1/2 |score|**2 + v . grad(v . score)` [b], of lower variance.

    Arguments and errors as `sliced_score_matching`.

    References:
        Song et al., Sliced Score Matching, 2019, eq. 8.
    """

    def form(v):
        value, product = _quadratic(score, x, v)
        return 0.5 * sum_per_example(jnp.square(value)) + product

    return _over_slices(key, form, x, slices, projection)


def finite_difference_score_matching(
    key: PRNGKey,
    score: Score,
    x: Batch,
    *,
    step: float = 1e-2,
    slices: int = 1,
    projection: Projection = rademacher,
) -> PerExample:
    """Return sliced score matching [b] with its derivative by central differences: no second backward pass.

    The mean over `slices` of `1/8 (v . (s+ + s-))**2 + v . (s+ - s-) / (2 step)` with `s+- = score(x +- step v)`,
    which is within `O(step**2)` of the exact form.

    Args:
        key: PRNG key of the projections.
        score: the model.
        x: data [b, ...].
        step: length of the difference, in data units.
        slices: number of projections an example.
        projection: `(key, shape) -> v` with `E[v v^T]` the identity.

    Raises:
        ValueError: if `slices` is below 1 or `step` is not positive.

    References:
        Pang et al., Efficient Learning of Generative Models via Finite-Difference Score Matching, 2020, eq. 15.
    """
    if not step > 0:
        raise ValueError(f"step must be > 0, got {step}")

    def form(v):
        ahead, behind = (sum_per_example(v * score(x + sign * step * v)) for sign in (1, -1))
        return 0.125 * jnp.square(ahead + behind) + (ahead - behind) / (2 * step)

    return _over_slices(key, form, x, slices, projection)


MATCHINGS: dict[str, Matching] = {
    "finite_difference": finite_difference_score_matching,
    "implicit": lambda key, score, x: implicit_score_matching(score, x),
    "sliced": sliced_score_matching,
    "sliced_vr": sliced_score_matching_vr,
}


def over_noise_levels(
    key: PRNGKey,
    sde: AbstractSDE,
    score_fn: ScoreFn,
    x0: Batch,
    matching: Matching,
    *,
    weighting: str | Weighting = "noise",
    times: Times = UniformTimes(),  # noqa: B008 (an immutable value)
) -> PerExample:
    """Apply a form of score matching to noisy data: `w(t) sigma(t)**2 matching(score(t, .), x_t)` [b].

    In expectation this is `denoising_score_matching` with the same weighting and times, up to a constant.

    Args:
        key: PRNG key for times, noise and projections.
        sde: the forward process.
        score_fn: `score_fn(t, x)` with `t` [b].
        x0: clean data [b, ...].
        matching: `(key, score, x) -> [b]`, such as `sliced_score_matching_vr` or a value of `MATCHINGS`.
        weighting: a name in `WEIGHTINGS` or a function `(sde, t) -> [b]`.
        times: a function `(key, sde, count) -> t` [count].

    Raises:
        ValueError: if the weighting's name is unknown, the data are integers, or the scores have another shape.

    References:
        Song et al., 2021, eq. 7 and the remark after it; Song et al., Sliced Score Matching, 2019, section 5.
    """
    weighting = as_weighting(weighting)
    check_floating("x0", x0)
    time_key, noise_key, matching_key = jax.random.split(key, 3)
    t = times(time_key, sde, x0.shape[0])
    xt = sde.perturb(t, x0, jax.random.normal(noise_key, x0.shape, x0.dtype))
    return weighting(sde, t) * jnp.square(sde.sigma(t)) * matching(matching_key, lambda x: evaluate(score_fn, t, x), xt)


def _quadratic(score: Score, x: Batch, v: Batch) -> tuple[Batch, PerExample]:
    """Return `score(x)` and `v . J v` [b] with its Jacobian `J`, in one forward pass."""
    value, tangent = jax.jvp(score, (x,), (v,))
    return value, sum_per_example(v * tangent)


def _over_slices(key: PRNGKey, form: Callable[[Batch], PerExample], x: Batch, slices: int, projection) -> Array:
    if slices < 1:
        raise ValueError(f"slices must be at least 1, got {slices}")
    keys = jax.random.split(key, slices)
    return jax.lax.map(lambda slice_key: form(projection(slice_key, x.shape)), keys).mean(axis=0)
