"""Likelihoods of integer data under densities: noise within the bins, uniform or learned.

For every distribution `q(u | raw)` of the place `u` within an integer's bin,

    log P(raw) >= E[log p(x) + log |dx / du| - log q(u | raw)],   x = scaling.to_model(raw, u),

with equality where `q` is the model's own density within the bin.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Num

from sgm_jax.scaling import AbstractScaling
from sgm_jax.shapes import Batch, PerExample, PRNGKey

Raw = Num[Array, "b ..."]
# Dequantisers: (key, raw) -> the place u in [0, 1) of each number within its bin [b, ...], and log q(u | raw) [b].
Dequantiser = Callable[[PRNGKey, Raw], tuple[Batch, PerExample]]


def uniform(key: PRNGKey, raw: Raw) -> tuple[Batch, PerExample]:
    """Draw places uniform in [0, 1), whose log density is zero.

    References:
        Theis et al., A Note on the Evaluation of Generative Models, 2016, section 3.1.
    """
    return jax.random.uniform(key, raw.shape), jnp.zeros(raw.shape[0])


def variational(flow: Callable[[Array, Batch], tuple[Batch, PerExample]], scaling: AbstractScaling) -> Dequantiser:
    """Return the dequantiser of a conditional flow.

    Args:
        flow: `flow(noise, condition) -> (u, log_q)`, such as a `networks.DequantisationFlow` with parameters: noise is
            standard logistic, the condition what the bins' centres are in the model's range.
        scaling: how raw integers become data.

    References:
        Ho et al., Flow++: Improving Flow-Based Generative Models with Variational Dequantization and Architecture
        Design, 2019, section 3.1.
    """

    def dequantiser(key, raw):
        return flow(jax.random.logistic(key, raw.shape), scaling.to_model(raw))

    return dequantiser


def dequantised_bound(
    key: PRNGKey,
    scaling: AbstractScaling,
    dequantiser: Dequantiser,
    raw: Raw,
    negative_log_density: Callable[[PRNGKey, Batch], PerExample],
) -> PerExample:
    """Bound `-log P(raw)` from above with one draw of the dequantiser, whose parameters it also trains.

    Args:
        key: PRNG key.
        scaling: how raw integers become data.
        dequantiser: `uniform`, or one that is learned.
        raw: integer data [b, ...].
        negative_log_density: `(key, x) -> [b]` in nats: minus `log_likelihood(...).log_prob`, or a bound on it, such as
            `likelihood_bound` or `implicit_bound`.

    Returns:
        An unbiased estimate of the bound for each example, in nats [b].

    Raises:
        ValueError: if the scaling is that of continuous data.

    References:
        Ho et al., 2019, eq. 12.
        Song et al., Maximum Likelihood Training of Score-Based Diffusion Models, 2021, appendix C.
    """
    if scaling.levels is None:
        raise ValueError("scaling must be of integer data, got levels=None")
    place_key, density_key = jax.random.split(key)
    u, log_q = dequantiser(place_key, raw)
    x = scaling.to_model(raw, u)
    return negative_log_density(density_key, x) - scaling.log_volume(x) + log_q
