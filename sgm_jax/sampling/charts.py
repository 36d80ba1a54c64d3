"""Charts: the clock and the scale in which a process is integrated.

A chart is chosen at the solve, not in the SDE. For few fixed steps the canonical noise level `s` is the
literature's choice; for adaptive solving a well-scaled one serves better: `Angle` for ODEs, `Hyperbolic` for SDEs.
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, Level


class AbstractChart(eqx.Module):
    """A clock `u(s)`, increasing in the canonical noise level, and a position `y = scale(s) * x / alpha`."""

    @abc.abstractmethod
    def clock(self, sde: AbstractSDE, s: Level) -> Array:
        """Return the clock `u` at noise level `s`."""

    @abc.abstractmethod
    def level(self, sde: AbstractSDE, u: Level) -> Array:
        """Return the noise level `s` at clock `u`."""

    @abc.abstractmethod
    def scale(self, sde: AbstractSDE, s: Level) -> Array:
        """Return the factor between the position `y` and the canonical `x / alpha`."""

    @abc.abstractmethod
    def velocity(self, sde: AbstractSDE, s: Level, y: Batch, noise: Batch) -> Batch:
        """Return `dy/du` of the probability flow at noise level `s`, given the noise estimate there."""


class NoiseLevel(AbstractChart):
    """The canonical coordinates themselves: `u = s`, `y = x / alpha`, `dy/du = noise`.

    Euler's method here is DDIM, Heun's is EDM's sampler.
    """

    def clock(self, sde: AbstractSDE, s: Level) -> Array:
        return jnp.asarray(s)

    def level(self, sde: AbstractSDE, u: Level) -> Array:
        return jnp.asarray(u)

    def scale(self, sde: AbstractSDE, s: Level) -> Array:
        return jnp.ones_like(jnp.asarray(s))

    def velocity(self, sde: AbstractSDE, s: Level, y: Batch, noise: Batch) -> Batch:
        return noise


class Angle(AbstractChart):
    """The bounded clock `u = arctan(s / c)` with `y = cos(u) / c * x / alpha`, of unit scale throughout.

    `dy/du = cos(u) noise - sin(u) denoised / c`.

    Args:
        data_scale: `c`, the standard deviation of the data, in data units.
    """

    data_scale: float = 1.0

    def clock(self, sde: AbstractSDE, s: Level) -> Array:
        return jnp.arctan2(jnp.asarray(s), self.data_scale)

    def level(self, sde: AbstractSDE, u: Level) -> Array:
        return self.data_scale * jnp.tan(u)

    def scale(self, sde: AbstractSDE, s: Level) -> Array:
        return 1 / jnp.hypot(jnp.asarray(s), self.data_scale)

    def velocity(self, sde: AbstractSDE, s: Level, y: Batch, noise: Batch) -> Batch:
        # With denoised = x - s noise and x = y c / cos(u), this is noise / cos(u) - tan(u) y.
        tangent = jnp.asarray(s) / self.data_scale
        return jnp.sqrt(1 + tangent**2) * noise - tangent * y


class Hyperbolic(AbstractChart):
    """The clock `u = arcsinh(s / c)` with `y = x / (alpha c cosh(u))`, of unit scale throughout.

    `dy/du = noise - tanh(u) y`. The clock is logarithmic in `s` above the data's scale and linear below it, so the
    diffusion of `ReverseSDE`, `eta sqrt(2 tanh(u))`, and the rate of its drift are bounded.

    Args:
        data_scale: `c`, the standard deviation of the data, in data units.
    """

    data_scale: float = 1.0

    def clock(self, sde: AbstractSDE, s: Level) -> Array:
        return jnp.arcsinh(jnp.asarray(s) / self.data_scale)

    def level(self, sde: AbstractSDE, u: Level) -> Array:
        return self.data_scale * jnp.sinh(u)

    def scale(self, sde: AbstractSDE, s: Level) -> Array:
        return 1 / jnp.hypot(jnp.asarray(s), self.data_scale)

    def velocity(self, sde: AbstractSDE, s: Level, y: Batch, noise: Batch) -> Batch:
        return noise - jnp.asarray(s) / jnp.hypot(jnp.asarray(s), self.data_scale) * y


class OwnTime(AbstractChart):
    """The SDE's own time and scale: `u = t`, `y = x`. What score_sde's ODE sampler integrates in."""

    def clock(self, sde: AbstractSDE, s: Level) -> Array:
        return sde.t(s)

    def level(self, sde: AbstractSDE, u: Level) -> Array:
        return sde.s(u)

    def scale(self, sde: AbstractSDE, s: Level) -> Array:
        return sde.alpha(sde.t(s))

    def velocity(self, sde: AbstractSDE, s: Level, y: Batch, noise: Batch) -> Batch:
        t = sde.t(s)
        slope = jax.jvp(sde.s, (t,), (jnp.ones_like(t),))[1]
        return sde.drift_coefficient(t) * y + sde.alpha(t) * slope * noise
