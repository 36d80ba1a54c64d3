"""Which noise levels are drawn in training: functions `(key, sde, count) -> t [count]`."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Float

from sgm_jax.partial_batch import rows_of
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import PerExample, PRNGKey

Times = Callable[[PRNGKey, AbstractSDE, int], PerExample]


def independent_quantiles(key: PRNGKey, count: int) -> PerExample:
    """Draw `count` independent uniform numbers in (0, 1)."""
    return jax.random.uniform(key, (count,), minval=jnp.finfo(jnp.float32).tiny)


def stratified_quantiles(key: PRNGKey, count: int) -> PerExample:
    """Draw one shifted lattice of `count` points in (0, 1): each is uniform, together they have low discrepancy.

    References:
        Kingma et al., Variational Diffusion Models, 2021, appendix I.1.
    """
    shift = jax.random.uniform(key, minval=jnp.finfo(jnp.float32).tiny)
    rows, total = rows_of(key, count)
    return jnp.mod(shift + rows / total, 1.0)


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


class TruncatedLogNormalTimes(eqx.Module):
    """Times whose canonical noise level is log-normal, given that it is within the SDE's range.

    References:
        Song and Dhariwal, Improved Techniques for Training Consistency Models, 2023, section 3.5.
    """

    mean: float = -1.1
    std: float = 2.0
    quantiles: Callable = stratified_quantiles

    def __call__(self, key: PRNGKey, sde: AbstractSDE, count: int) -> PerExample:
        low, high = (ndtr((jnp.log(sde.s(t)) - self.mean) / self.std) for t in (sde.t_min, sde.t_max))
        z = ndtri(low + self.quantiles(key, count) * (high - low))
        return jnp.clip(sde.t(jnp.exp(self.mean + self.std * z)), sde.t_min, sde.t_max)


class KarrasTimes(eqx.Module):
    """Times uniform over the steps of a Karras schedule: `s**(1 / rho)` is uniform over the SDE's range.

    References:
        Karras et al., 2022, eq. 5.
    """

    rho: float = 7.0
    quantiles: Callable = stratified_quantiles

    def __call__(self, key: PRNGKey, sde: AbstractSDE, count: int) -> PerExample:
        low, high = (sde.s(t) ** (1 / self.rho) for t in (sde.t_min, sde.t_max))
        return jnp.clip(sde.t((low + self.quantiles(key, count) * (high - low)) ** self.rho), sde.t_min, sde.t_max)


class LogUniformTimes(eqx.Module):
    """Times whose canonical noise level is log-uniform over the SDE's range: importance sampling for likelihood.

    For every linear SDE `g**2 / sigma**2 = d log(s**2) / dt`, so times drawn in proportion to the likelihood weighting
    are those of a uniform `log s`, in closed form. The likelihood-weighted loss over uniform times, times
    `t_max - t_min`, has the same expectation as the noise-weighted loss over these, times
    `2 log(s(t_max) / s(t_min))`, at a far lower variance.

    References:
        Song, Durkan, Murray, Ermon, Maximum Likelihood Training of Score-Based Diffusion Models, 2021, section 5.1.
    """

    quantiles: Callable = stratified_quantiles

    def __call__(self, key: PRNGKey, sde: AbstractSDE, count: int) -> PerExample:
        low, high = jnp.log(sde.s(sde.t_min)), jnp.log(sde.s(sde.t_max))
        t = sde.t(jnp.exp(low + self.quantiles(key, count) * (high - low)))
        return jnp.clip(t, sde.t_min, sde.t_max)


class LevelTimes(eqx.Module):
    """Times of a discrete set of noise levels, each as likely as any other (NCSN, DDPM).

    Args:
        levels: canonical noise levels [n], in any order, within the SDE's range; or a function `sde -> levels`.

    References:
        Song and Ermon, Generative Modeling by Estimating Gradients of the Data Distribution, 2019, eq. 6.
    """

    levels: Float[Array, " n"] | Callable[[AbstractSDE], Float[np.ndarray, " n"]]
    quantiles: Callable = stratified_quantiles

    def __call__(self, key: PRNGKey, sde: AbstractSDE, count: int) -> PerExample:
        levels = jnp.asarray(self.levels(sde) if callable(self.levels) else self.levels)
        index = jnp.floor(self.quantiles(key, count) * len(levels)).astype(int)
        return sde.t(levels[jnp.minimum(index, len(levels) - 1)])
