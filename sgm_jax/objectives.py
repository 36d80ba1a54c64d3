"""Denoising score matching: pure functions from a score function and data to one loss an example.

Losses are `w(t) / 2 * |noise_estimate - noise|**2`, summed over an example's coordinates. The weighting `w` and the
distribution of the times are independent choices, each a function that can be replaced.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jaxtyping import Array

from sgm_jax.naming import choose
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, Level, PerExample, PRNGKey, ScoreFn, expand, sum_per_example

Weighting = Callable[[AbstractSDE, Level], Array]
Times = Callable[[PRNGKey, AbstractSDE, int], PerExample]


# Weightings: (sde, t) -> factor on the squared error of the noise.


def noise_weighting(sde: AbstractSDE, t: Level) -> Array:
    """Weigh every noise level alike in the noise: DDPM's `L_simple` (Ho et al., 2020, eq. 14)."""
    return jnp.ones_like(sde.sigma(t))


def likelihood_weighting(sde: AbstractSDE, t: Level) -> Array:
    """Weigh by `g**2 / sigma**2`: the loss bounds the negative log-likelihood (Song et al., 2021b, theorem 1)."""
    return jnp.square(sde.diffusion(t) / sde.sigma(t))


class EDMWeighting(eqx.Module):
    """Weigh so that every noise level's loss starts near one (Karras et al., 2022, table 1).

    Args:
        sigma_data: standard deviation of the data, in data units.
    """

    sigma_data: float = 0.5

    def __call__(self, sde: AbstractSDE, t: Level) -> Array:
        return 1 + jnp.square(sde.s(t) / self.sigma_data)


class MinSNRWeighting(eqx.Module):
    """Weigh the error of the denoised data by `min(SNR, gamma)` (Hang et al., 2023, eq. 5)."""

    gamma: float = 5.0

    def __call__(self, sde: AbstractSDE, t: Level) -> Array:
        return jnp.minimum(1.0, self.gamma * jnp.square(sde.s(t)))


class LogSNRWeighting(eqx.Module):
    """Weigh by any function of the log signal-to-noise ratio `log(alpha**2 / sigma**2)`."""

    function: Callable

    def __call__(self, sde: AbstractSDE, t: Level) -> Array:
        return self.function(sde.log_snr(t))


WEIGHTINGS = {
    "noise": noise_weighting,
    "likelihood": likelihood_weighting,
    "edm": EDMWeighting(),
    "min_snr": MinSNRWeighting(),
}


# Times: (key, sde, count) -> t [count].


def independent_quantiles(key: PRNGKey, count: int) -> PerExample:
    """Draw `count` independent uniform numbers in (0, 1)."""
    return jax.random.uniform(key, (count,), minval=jnp.finfo(jnp.float32).tiny)


def stratified_quantiles(key: PRNGKey, count: int) -> PerExample:
    """Draw one shifted lattice of `count` points in (0, 1): each is uniform, together they have low discrepancy.

    References:
        Kingma et al., Variational Diffusion Models, 2021, appendix I.1.
    """
    shift = jax.random.uniform(key, minval=jnp.finfo(jnp.float32).tiny)
    return jnp.mod(shift + jnp.arange(count) / count, 1.0)


class UniformTimes(eqx.Module):
    """Times uniform in `[t_min, t_max]`."""

    quantiles: Callable = stratified_quantiles

    def __call__(self, key: PRNGKey, sde: AbstractSDE, count: int) -> PerExample:
        return sde.t_min + self.quantiles(key, count) * (sde.t_max - sde.t_min)


class LogNormalTimes(eqx.Module):
    """Times whose canonical noise level is log-normal, `log s ~ N(mean, std**2)`, within the SDE's range.

    References:
        Karras et al., 2022, table 1.
    """

    mean: float = -1.2
    std: float = 1.2
    quantiles: Callable = stratified_quantiles

    def __call__(self, key: PRNGKey, sde: AbstractSDE, count: int) -> PerExample:
        s = jnp.exp(self.mean + self.std * ndtri(self.quantiles(key, count)))
        return jnp.clip(sde.t(jnp.clip(s, sde.s(sde.t_min), sde.s(sde.t_max))), sde.t_min, sde.t_max)


def as_weighting(weighting: str | Weighting) -> Weighting:
    """Return the weighting of that name, or the function itself.

    Raises:
        ValueError: if the name is unknown.
    """
    if not isinstance(weighting, str):
        return weighting
    return choose("weighting", weighting, WEIGHTINGS)


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
        ValueError: if the weighting's name is unknown.

    References:
        Vincent, A Connection Between Score Matching and Denoising Autoencoders, 2011.
        Song et al., 2021, eq. 7.
    """
    weighting = as_weighting(weighting)
    time_key, noise_key = jax.random.split(key)
    t = times(time_key, sde, x0.shape[0])
    noise = jax.random.normal(noise_key, x0.shape, x0.dtype)
    error = expand(sde.sigma(t), x0) * score_fn(t, sde.perturb(t, x0, noise)) + noise
    return 0.5 * weighting(sde, t) * sum_per_example(jnp.square(error))
