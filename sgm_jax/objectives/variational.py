"""Variational diffusion: bounds on the negative log-likelihood that train network and noise schedule together."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sgm_jax.bounds import BoundTerms, Decoder, bound_terms, gaussian_decoder
from sgm_jax.learned_schedule import LearnedVP
from sgm_jax.levels import StepLevels, uniform_time_levels
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, PerExample, PRNGKey, ScoreFn


def variational_diffusion(
    key: PRNGKey,
    sde: LearnedVP,
    score_of: Callable[[AbstractSDE], ScoreFn],
    x0: Batch,
    *,
    draws: int = 1,
    decoder: Decoder = gaussian_decoder,
) -> PerExample:
    """Compute the continuous-time bound of each example, with the gradients that train a schedule.

    The value is `likelihood_bound` at times uniform in the schedule's clock. What lies between the schedule's ends does
    not change its mean, so the gradient there is that of `log E[diffusion**2]`, which lowers the variance; network and
    ends get the gradient of the bound. The network should be told the noise level (as by the prediction
    `"edm"`), not the time, whose meaning changes.

    Args:
        key: PRNG key of times and noise.
        sde: the schedule.
        score_of: the model, `sde -> score_fn`, such as `lambda sde: as_score(sde, "edm", network)`.
        x0: clean data [b, ...].
        draws: times an example.
        decoder: what leads from the smallest level to the data, as in `likelihood_bound`.

    Returns:
        Bounds [b] in nats.

    References:
        Kingma et al., Variational Diffusion Models, 2021, section 5 and appendix I.2.
    """
    ends = sde.with_fixed_interior()
    terms = bound_terms(key, ends, score_of(ends), x0, draws=draws, decoder=decoder, levels=uniform_time_levels)
    variance = _log_second_moment(sde.with_fixed_ends(), jax.lax.stop_gradient(terms))
    return terms.total + variance - jax.lax.stop_gradient(variance)


def discrete_variational_diffusion(
    key: PRNGKey,
    sde: LearnedVP,
    score_of: Callable[[AbstractSDE], ScoreFn],
    x0: Batch,
    *,
    steps: int,
    draws: int = 1,
    decoder: Decoder = gaussian_decoder,
) -> PerExample:
    """Compute the bound of a chain of `steps` steps, even in the schedule's time, at `draws` of them drawn at random.

    Its mean does depend on the whole schedule, which it trains. Other arguments as `variational_diffusion`.

    Args:
        steps: number of steps.

    Returns:
        Bounds [b] in nats, whose mean is that of `chain_bound`.

    Raises:
        ValueError: if `steps` is below 1.

    References:
        Kingma et al., Variational Diffusion Models, 2021, eq. 11-14.
    """
    return bound_terms(key, sde, score_of(sde), x0, draws=draws, decoder=decoder, levels=StepLevels(steps)).total


def _log_second_moment(sde: LearnedVP, terms: BoundTerms) -> Array:
    """Return numbers [b] whose mean has the gradient of `log E[diffusion**2]` by the schedule.

    At a given level the diffusion term is in proportion to `d log s / dt`, and levels are drawn in proportion to its
    inverse, so the gradient of `E[diffusion**2]` is `E[diffusion**2 grad log(d log s / dt)]` at fixed levels. No
    gradient of the network enters.
    """
    squares = jnp.square(terms.diffusion)
    t = sde.t(terms.levels)
    slope = jax.jvp(sde.log_snr, (t,), (jnp.ones_like(t),))[1]
    return (squares / squares.mean() * jnp.log(-slope)).mean(axis=0)
