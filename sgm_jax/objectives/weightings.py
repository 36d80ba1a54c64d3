"""How much each noise level counts: functions `(sde, t) -> factor on the squared error of the noise`."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from sgm_jax.naming import choose
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Level

Weighting = Callable[[AbstractSDE, Level], Array]


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


def flow_weighting(sde: AbstractSDE, t: Level) -> Array:
    """Weigh the error of the velocity `noise - x0` of straight lines alike (Liu et al., 2022, eq. 1)."""
    return jnp.square(1 + sde.s(t))


def snr_plus_one_weighting(sde: AbstractSDE, t: Level) -> Array:
    """Weigh the error of the denoised data by `SNR + 1` (Salimans and Ho, 2022, section 4)."""
    return 1 + jnp.square(sde.s(t))


def truncated_snr_weighting(sde: AbstractSDE, t: Level) -> Array:
    """Weigh the error of the denoised data by `max(SNR, 1)` (Salimans and Ho, 2022, section 4)."""
    return jnp.maximum(1.0, jnp.square(sde.s(t)))


WEIGHTINGS = {
    "flow": flow_weighting,
    "noise": noise_weighting,
    "likelihood": likelihood_weighting,
    "edm": EDMWeighting(),
    "min_snr": MinSNRWeighting(),
    "snr_plus_one": snr_plus_one_weighting,
    "truncated_snr": truncated_snr_weighting,
}


def as_weighting(weighting: str | Weighting) -> Weighting:
    """Return the weighting of that name, or the function itself.

    Raises:
        ValueError: if the name is unknown.
    """
    if not isinstance(weighting, str):
        return weighting
    return choose("weighting", weighting, WEIGHTINGS)
