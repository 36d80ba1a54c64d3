"""Noise labels that networks are told in place of the time: `label(sde, t)`, of the shape of `t`.

Plain values that compare and hash by what they hold, so that compiled functions are found again.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Level


@dataclasses.dataclass(frozen=True)
class ScaledTime:
    """`factor * t`."""

    factor: float

    def __call__(self, sde: AbstractSDE, t: Level) -> Array:
        return self.factor * jnp.asarray(t)


@dataclasses.dataclass(frozen=True)
class Sigma:
    """`sigma(t)`."""

    def __call__(self, sde: AbstractSDE, t: Level) -> Array:
        return sde.sigma(t)


@dataclasses.dataclass(frozen=True)
class LogLevel:
    """`factor * log(s / unit)` of the canonical noise level `s`."""

    factor: float = 1.0
    unit: float = 1.0

    def __call__(self, sde: AbstractSDE, t: Level) -> Array:
        return self.factor * jnp.log(sde.s(t) / self.unit)


@dataclasses.dataclass(frozen=True)
class NearestStep:
    """The number of the discrete level nearest to `s`, for networks trained at such levels alone.

    Args:
        levels: increasing canonical noise levels; the first one's label is 0.
    """

    levels: tuple[float, ...]

    def __call__(self, sde: AbstractSDE, t: Level) -> Array:
        levels, s = np.asarray(self.levels), sde.s(t)
        return jnp.searchsorted(jnp.asarray(0.5 * (levels[1:] + levels[:-1]), s.dtype), s).astype(s.dtype)


@dataclasses.dataclass(frozen=True)
class NearestLevel:
    """The index of the noise level nearest to `sigma(t)`, by ratio, for networks that know a list of them.

    Args:
        sigmas: the noise levels, in the network's order.
    """

    sigmas: tuple[float, ...]

    def __call__(self, sde: AbstractSDE, t: Level) -> Array:
        distance = jnp.log(sde.sigma(t))[..., None] - np.log(self.sigmas)
        return jnp.argmin(jnp.abs(distance), axis=-1)


@dataclasses.dataclass(frozen=True)
class DescendingIndex:
    """The index `(1 - t) (count - 1)`, rounded: 0 for the largest of `count` levels."""

    count: int

    def __call__(self, sde: AbstractSDE, t: Level) -> Array:
        return jnp.round((1 - t) * (self.count - 1))


@dataclasses.dataclass(frozen=True)
class InterpolatedStep:
    """The number of the discrete level `s`, in between two of them a fraction, by interpolation of `log s`.

    Args:
        levels: increasing canonical noise levels; the first one's label is 0.
    """

    levels: tuple[float, ...]

    def __call__(self, sde: AbstractSDE, t: Level) -> Array:
        return jnp.interp(
            jnp.log(sde.s(t)), jnp.log(jnp.asarray(self.levels)), jnp.arange(len(self.levels), dtype=float)
        )
