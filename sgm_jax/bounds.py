"""Variational bounds on the negative log-likelihood, in nats per example: cheap, and without an ODE.

In canonical coordinates every bound is a sum of three terms. With `err(s) = E|noise_estimate - noise|**2` at level `s`,
`d` dimensions and levels from `s_0` to `s_T`,

    -log p(x0) <= prior(x0) + integral of err(s) d log s + reconstruction(x0),

where `prior` is the divergence of the noisiest data from the prior, and a chain of discrete steps replaces the integral
by `sum 1/2 (s_i**2 / s_(i-1)**2 - 1) err(s_i)`.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jaxtyping import Array, Float

from sgm_jax.divergence import AbstractDivergence, as_divergence
from sgm_jax.levels import Levels, log_uniform_levels
from sgm_jax.scaling import Scaling
from sgm_jax.score import as_noise
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, PerExample, PRNGKey, ScoreFn, dimension, expand, per_example_keys, sum_per_example

# Standard deviations beyond which a Gaussian tail is nothing.
FAR = 1e3

# Decoders: (x0, denoised, s) -> log p(x0 | x_s) [b] in nats, given the denoised estimate at the smallest level `s`.
Decoder = Callable[[Batch, Batch, Array], PerExample]


def gaussian_decoder(x0: Batch, denoised: Batch, s: Array) -> PerExample:
    """Return the log density of `N(denoised, s**2)` at `x0`, for continuous data.

    References:
        Song et al., Maximum Likelihood Training of Score-Based Diffusion Models, 2021, appendix B.
    """
    return -0.5 * sum_per_example(jnp.square((x0 - denoised) / s)) - dimension(x0) * jnp.log(s * jnp.sqrt(2 * jnp.pi))


class DiscretisedDecoder(eqx.Module):
    """The probability that `N(denoised, s**2)` gives to the bin that `x0` is the centre of, for integer data.

    The outermost bins reach to infinity.

    Args:
        scaling: how raw integers became `x0`.

    References:
        Ho, Jain, Abbeel, Denoising Diffusion Probabilistic Models, 2020, eq. 13.
    """

    scaling: Scaling

    def __check_init__(self):
        if self.scaling.levels is None:
            raise ValueError("scaling must be of integer data, got levels=None")

    def __call__(self, x0: Batch, denoised: Batch, s: Array) -> PerExample:
        """Return the log probability of each example [b]."""
        low, high = self.scaling.low, self.scaling.high
        width = self.scaling.bin_width
        below = jnp.where(x0 - width < low, -FAR, (x0 - width / 2 - denoised) / s)
        above = jnp.where(x0 + width > high, FAR, (x0 + width / 2 - denoised) / s)
        # The difference of two tails, taken on the side where both are small.
        below, above = jnp.where(below > 0, -above, below), jnp.where(below > 0, -below, above)
        larger, smaller = norm.logcdf(above), norm.logcdf(below)
        tiny = jnp.finfo(x0.dtype).eps
        return sum_per_example(larger + jnp.log(-jnp.expm1(jnp.minimum(smaller - larger, -tiny))))


class BoundTerms(eqx.Module):
    """The terms of a bound on the negative log-likelihood, in nats.

    Args:
        prior: divergence of the noisiest data from the prior [b].
        diffusion: what each drawn noise level contributes [draws, b]; its mean over the draws counts.
        reconstruction: from the smallest noise level to the data [b].
        levels: the drawn noise levels [draws, b].
    """

    prior: PerExample
    diffusion: Float[Array, "draws b"]
    reconstruction: PerExample
    levels: Float[Array, "draws b"]

    @property
    def total(self) -> PerExample:
        """The bound [b]."""
        return self.prior + self.diffusion.mean(axis=0) + self.reconstruction


def bound_terms(
    key: PRNGKey,
    sde: AbstractSDE,
    score_fn: ScoreFn,
    x0: Batch,
    *,
    draws: int = 16,
    decoder: Decoder = gaussian_decoder,
    levels: Levels = log_uniform_levels,
) -> BoundTerms:
    """Return the terms of `likelihood_bound`, which has the same arguments and errors."""
    _check_draws(draws)
    level_key, noise_key, decoder_key = jax.random.split(key, 3)
    drawn, weights = levels(level_key, sde, draws, x0.shape[0])
    errors = jax.lax.map(
        lambda pair: _error(pair[0], sde, score_fn, x0, pair[1]), (jax.random.split(noise_key, draws), drawn)
    )
    return BoundTerms(
        prior=_prior(sde, x0, sde.s(sde.t_max)) - _entropy(sde.s(sde.t_max), x0),
        diffusion=weights * errors,
        reconstruction=_reconstruction(decoder_key, sde, score_fn, x0, draws, decoder, sde.s(sde.t_min)),
        levels=drawn,
    )


def likelihood_bound(
    key: PRNGKey,
    sde: AbstractSDE,
    score_fn: ScoreFn,
    x0: Batch,
    *,
    draws: int = 16,
    decoder: Decoder = gaussian_decoder,
    levels: Levels = log_uniform_levels,
) -> PerExample:
    """Bound the negative log-likelihood of the reverse SDE from above, by denoising score matching.

    Args:
        key: PRNG key of levels and noise.
        sde: the forward process; its `t_min` decides how much noise is left to the decoder.
        score_fn: `score_fn(t, x)`.
        x0: clean data [b, ...].
        draws: noise levels an example.
        decoder: what leads from the smallest level to the data: `gaussian_decoder`, or `DiscretisedDecoder(scaling)`
            for the probability of integer data.
        levels: how the integral over noise levels is estimated: `log_uniform_levels` (importance sampling for every
            SDE), `uniform_time_levels`, or `StepLevels(n)` for a chain of `n` steps in place of the integral.

    Returns:
        An unbiased estimate of the bound for each example, in nats [b].

    Raises:
        ValueError: if `draws` is below 1.

    References:
        Song et al., Maximum Likelihood Training of Score-Based Diffusion Models, 2021, theorem 3 and appendix B.
        Kingma et al., Variational Diffusion Models, 2021, eq. 11-17.
    """
    return bound_terms(key, sde, score_fn, x0, draws=draws, decoder=decoder, levels=levels).total


def chain_bound(
    key: PRNGKey,
    sde: AbstractSDE,
    score_fn: ScoreFn,
    x0: Batch,
    levels: Float[Array, " n"] | np.ndarray,
    *,
    draws: int = 1,
    decoder: Decoder = gaussian_decoder,
) -> PerExample:
    """Bound the negative log-likelihood of ancestral sampling on given noise levels: DDPM's variational bound.

    Every step is summed, `draws` times each; the chain starts from the SDE's prior at the largest level.

    Args:
        key: PRNG key of the noise.
        sde: the forward process.
        score_fn: `score_fn(t, x)`.
        x0: clean data [b, ...].
        levels: canonical noise levels [n], decreasing, within the SDE's range (such as `discrete_vp()` gives).
        draws: noise draws a level.
        decoder: what leads from the smallest level to the data.

    Returns:
        An unbiased estimate of the bound for each example, in nats [b].

    Raises:
        ValueError: if the levels are not decreasing and positive, or `draws` is below 1.

    References:
        Ho, Jain, Abbeel, Denoising Diffusion Probabilistic Models, 2020, eq. 5.
    """
    _check_draws(draws)
    levels = np.asarray(levels, np.float64)
    if levels.ndim != 1 or len(levels) < 2 or not (np.diff(levels) < 0).all() or not levels[-1] > 0:
        raise ValueError(f"levels must be a decreasing array of at least 2 positive noise levels, got {levels}")
    chain_key, decoder_key = jax.random.split(key)
    # The divergence of each step from its exact posterior is weighted by the step's gain in signal-to-noise ratio.
    gains = 0.5 * np.expm1(2 * np.log(levels[:-1] / levels[1:]))
    pairs = (
        jax.random.split(chain_key, draws * len(gains)),
        jnp.asarray(np.tile(levels[:-1], draws), x0.dtype),
        jnp.asarray(np.tile(gains, draws), x0.dtype),
    )

    def step(pair):
        step_key, level, gain = pair
        return gain * _error(step_key, sde, score_fn, x0, jnp.full(x0.shape[:1], level))

    steps = jax.lax.map(step, pairs).sum(axis=0) / draws
    smallest = jnp.asarray(levels[-1], x0.dtype)
    return (
        _prior(sde, x0, levels[0])
        - _entropy(levels[0], x0)
        + steps
        + _reconstruction(decoder_key, sde, score_fn, x0, draws, decoder, smallest)
    )


def implicit_bound(
    key: PRNGKey,
    sde: AbstractSDE,
    score_fn: ScoreFn,
    x: Batch,
    *,
    draws: int = 16,
    divergence: str | AbstractDivergence = "hutchinson",
) -> PerExample:
    """Bound the negative log-likelihood at the SDE's smallest noise level by implicit score matching.

    `prior + integral of 1/2 |score|**2 + div score over s**2`, along forward paths that start at `x` itself; needs no
    decoder, as `log_likelihood`, whose density it bounds.

    Args:
        key: PRNG key of levels, noise and projections.
        sde: the forward process.
        score_fn: `score_fn(t, x)`.
        x: data [b, ...], taken to be at the level `s(t_min)`.
        draws: noise levels an example.
        divergence: `"hutchinson"`, `"hutch++"`, `"exact"`, or an object such as `Hutchinson(probes=10)`.

    Raises:
        ValueError: if the divergence's name is unknown or `draws` is below 1.

    References:
        Song et al., Maximum Likelihood Training of Score-Based Diffusion Models, 2021, theorem 3, eq. 10.
    """
    _check_draws(draws)
    divergence = as_divergence(divergence)
    noise_of = as_noise(sde, score_fn)
    level_key, draw_key = jax.random.split(key)
    levels, weights = log_uniform_levels(level_key, sde, draws, x.shape[0])
    # Noise is added to what the data hold already.
    added = lambda s: jnp.sqrt(jnp.square(s) - jnp.square(sde.s(sde.t_min)))

    def integrand(pair):
        key, s = pair
        noise_key, probe_key = jax.random.split(key)
        z = jax.random.normal(noise_key, x.shape, x.dtype)
        xbar = x + expand(added(s), x) * z
        vectors = divergence.vectors(per_example_keys(probe_key, x.shape[0]), x)
        noise, pullback = jax.vjp(lambda y: noise_of(s, y), xbar)
        trace = divergence.estimates(vectors, lambda v: pullback(v)[0]).mean(axis=0)
        # |score|**2 / 2 d(s**2) = |noise|**2 d log s;  div score d(s**2) = -2 s div noise d log s.
        # The noise's own square has the mean d. Its share in the estimate's, for data of unit scale, is taken out.
        share = jnp.square(added(s) * s / (1 + jnp.square(s)))
        surplus = share * (sum_per_example(jnp.square(z)) - dimension(x))
        return sum_per_example(jnp.square(noise)) - surplus - 2 * s * trace

    integral = (weights * jax.lax.map(integrand, (jax.random.split(draw_key, draws), levels))).mean(axis=0)
    return _prior(sde, x, added(sde.s(sde.t_max))) + integral


def _error(key, sde, score_fn, x0, s) -> PerExample:
    """Return an unbiased estimate of `E|noise_estimate - noise|**2` at levels `s` [b]."""
    noise = jax.random.normal(key, x0.shape, x0.dtype)
    error = as_noise(sde, score_fn)(s, x0 + expand(s, x0) * noise) - noise
    # The noise's own square has the mean d. Its share in the error, for data of unit scale, is taken out.
    share = 1 / jnp.square(1 + jnp.square(s))
    return sum_per_example(jnp.square(error)) - share * (sum_per_example(jnp.square(noise)) - dimension(x0))


def _prior(sde, x0, s) -> PerExample:
    """Return `E[-log prior]` of `x0` with noise of level `s` added, in canonical coordinates."""
    spread = sde.prior_std / sde.alpha(sde.t_max)
    size = dimension(x0)
    squares = sum_per_example(jnp.square(x0)) + size * jnp.square(s)
    return 0.5 * squares / jnp.square(spread) + size * jnp.log(spread * jnp.sqrt(2 * jnp.pi))


def _entropy(s, x0) -> Array:
    """Return the entropy of noise of level `s` in nats."""
    return dimension(x0) * (jnp.log(s) + 0.5 * jnp.log(2 * jnp.pi * jnp.e))


def _reconstruction(key, sde, score_fn, x0, draws, decoder, s) -> PerExample:
    """Return an unbiased estimate of `E[-log p(x0 | x_s)]` at the level `s`."""
    noise_of = as_noise(sde, score_fn)

    def once(key):
        xbar = x0 + s * jax.random.normal(key, x0.shape, x0.dtype)
        denoised = xbar - s * noise_of(jnp.full(x0.shape[:1], s), xbar)
        return -decoder(x0, denoised, s)

    return jax.lax.map(once, jax.random.split(key, draws)).mean(axis=0)


def _check_draws(draws: int) -> None:
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
