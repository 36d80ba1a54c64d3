"""Integrals over noise levels by random draws: functions `(key, sde, draws, count) -> (levels, weights)`.

The mean of `weights * f(levels)` over the draws estimates the integral of `f(s) d log s` over the SDE's range, for each
of `count` examples. The mean is always the same; the variance is the lower, the nearer the weights are to `1 / |f|`.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from sgm_jax.partial_batch import rows_of, whole_key
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import PRNGKey

Levels = Callable[[PRNGKey, AbstractSDE, int, int], tuple[Array, Array]]


def log_uniform_levels(key: PRNGKey, sde: AbstractSDE, draws: int, count: int) -> tuple[Array, Array]:
    """Return levels [draws, count], uniform in `log s` and stratified for each example, and their weights.

    References:
        Song et al., Maximum Likelihood Training of Score-Based Diffusion Models, 2021, section 5.1.
    """
    low, high = jnp.log(sde.s(sde.t_min)), jnp.log(sde.s(sde.t_max))
    shifts = jax.random.uniform(key, (draws, count))
    levels = jnp.exp(low + (jnp.arange(draws)[:, None] + shifts) / draws * (high - low))
    return levels, jnp.full_like(levels, high - low)


def uniform_time_levels(key: PRNGKey, sde: AbstractSDE, draws: int, count: int) -> tuple[Array, Array]:
    """Return levels [draws, count] at times uniform in the SDE's own clock, and their weights.

    So a schedule that is learned decides which levels are drawn more often.

    References:
        Kingma et al., Variational Diffusion Models, 2021, eq. 17.
    """
    span = sde.t_max - sde.t_min
    t = sde.t_min + _lattice(key, draws, count) * span
    log_snr, slope = jax.jvp(sde.log_snr, (t,), (jnp.ones_like(t),))
    return jnp.exp(-0.5 * log_snr), -0.5 * span * slope


class StepLevels(eqx.Module):
    """Levels of a chain of discrete steps, even in the SDE's own time: not the integral, but the chain's upper sum.

    The mean of `weights * f(levels)` is `sum_i 1/2 (s_i**2 / s_(i-1)**2 - 1) f(s_i)`, for every number of steps.

    Args:
        steps: number of steps.

    References:
        Kingma et al., Variational Diffusion Models, 2021, eq. 13-14.
    """

    steps: int

    def __check_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")

    def __call__(self, key: PRNGKey, sde: AbstractSDE, draws: int, count: int) -> tuple[Array, Array]:
        before = jnp.minimum(jnp.floor(_lattice(key, draws, count) * self.steps), self.steps - 1)
        below, log_snr = (
            sde.log_snr(sde.t_min + index / self.steps * (sde.t_max - sde.t_min)) for index in (before, before + 1)
        )
        return jnp.exp(-0.5 * log_snr), 0.5 * self.steps * jnp.expm1(below - log_snr)


def _lattice(key: PRNGKey, draws: int, count: int) -> Array:
    """Return numbers [draws, count], uniform in [0, 1): stratified along the draws, a shifted lattice along the batch.

    References:
        Kingma et al., Variational Diffusion Models, 2021, appendix I.1.
    """
    shifts = jax.random.uniform(whole_key(key), (draws, 1))
    rows, total = rows_of(key, count)
    return (jnp.arange(draws)[:, None] + jnp.mod(shifts + rows / total, 1.0)) / draws
