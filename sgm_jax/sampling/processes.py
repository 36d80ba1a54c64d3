"""Processes: what is integrated to turn noise into data."""

import abc

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax
from jaxtyping import Array

from sgm_jax.sampling.charts import AbstractChart, NoiseLevel
from sgm_jax.score import as_noise
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, Level, ScoreFn


class AbstractProcess(eqx.Module):
    """An SDE with a score function, in the coordinates it is integrated in."""

    sde: eqx.AbstractVar[AbstractSDE]
    score_fn: eqx.AbstractVar[ScoreFn]
    chart: eqx.AbstractVar[AbstractChart | None]

    @abc.abstractmethod
    def clock(self, s: Level) -> Array:
        """Return the clock of integration at the canonical noise level `s`."""

    @abc.abstractmethod
    def level(self, u: Level) -> Array:
        """Return the canonical noise level at the clock `u`."""

    @abc.abstractmethod
    def scale(self, s: Level) -> Array:
        """Return the factor between the integrated position and the canonical `x / alpha`."""

    @abc.abstractmethod
    def terms(self, path: diffrax.AbstractBrownianPath | None) -> diffrax.AbstractTerm:
        """Return the terms that diffrax integrates, driven by `path` where there is noise."""

    def noise(self, s: Level, xbar: Batch) -> Batch:
        """Return the network's noise estimate at `x / alpha = xbar` [b, ...]."""
        return as_noise(self.sde, self.score_fn)(s, xbar)

    def denoised(self, s: Level, xbar: Batch) -> Batch:
        """Return the network's estimate of the clean data at `x / alpha = xbar` [b, ...]."""
        return xbar - s * self.noise(s, xbar)


class ProbabilityFlow(AbstractProcess):
    """The deterministic process with the SDE's marginals: `d(x / alpha) / ds = noise(s, x / alpha)`.

    Args:
        sde: the forward SDE.
        score_fn: `score_fn(t, x)`.
        chart: the coordinates to integrate in; unless given the canonical ones, and for adaptive steps `Angle()`.

    References:
        Song et al., 2021, eq. 13. Karras et al., 2022, eq. 1.
    """

    sde: AbstractSDE
    score_fn: ScoreFn
    chart: AbstractChart | None = None

    @property
    def coordinates(self) -> AbstractChart:
        """The chart in use."""
        return NoiseLevel() if self.chart is None else self.chart

    def clock(self, s: Level) -> Array:
        return self.coordinates.clock(self.sde, s)

    def level(self, u: Level) -> Array:
        return self.coordinates.level(self.sde, u)

    def scale(self, s: Level) -> Array:
        return self.coordinates.scale(self.sde, s)

    def vector_field(self, u, y, args=None) -> Batch:
        """Return `dy/du` at clock `u`."""
        s = self.level(u)
        return self.coordinates.velocity(self.sde, s, y, self.noise(s, y / self.scale(s)))

    def terms(self, path: diffrax.AbstractBrownianPath | None = None) -> diffrax.AbstractTerm:
        return diffrax.ODETerm(self.vector_field)


class ReverseSDE(AbstractProcess):
    """The stochastic process with the SDE's marginals, in the clock `s**2` unless a chart is given.

    Drift `(1 + eta**2) / 2 * noise / s`, diffusion `eta`. `eta=1` is the reverse SDE, `eta=0` the probability flow.
    Euler's method here is score_sde's reverse-diffusion predictor for VE; in the chart `OwnTime` it is its
    Euler-Maruyama predictor. The terms run forward in minus the clock, because diffrax's stochastic Runge-Kutta
    methods give wrong results backward.

    Args:
        sde: the forward SDE.
        score_fn: `score_fn(t, x)`.
        eta: noise strength.
        chart: the coordinates to integrate in; unless given `x / alpha` in the clock `s**2`, and for adaptive steps
            `Hyperbolic()`.

    References:
        Anderson, Reverse-time Diffusion Equation Models, 1982.
        Song et al., 2021, eq. 6. Karras et al., 2022, eq. 6.
    """

    sde: AbstractSDE
    score_fn: ScoreFn
    eta: float = 1.0
    chart: AbstractChart | None = None

    def __check_init__(self):
        if isinstance(self.eta, int | float) and self.eta < 0:
            raise ValueError(f"eta must be >= 0, got {self.eta}")

    def clock(self, s: Level) -> Array:
        return jnp.square(s) if self.chart is None else self.chart.clock(self.sde, s)

    def level(self, u: Level) -> Array:
        return jnp.sqrt(u) if self.chart is None else self.chart.level(self.sde, u)

    def scale(self, s: Level) -> Array:
        return jnp.ones_like(jnp.asarray(s)) if self.chart is None else self.chart.scale(self.sde, s)

    def drift(self, time, y, args=None) -> Batch:
        """Return `dy/dtime`, where `time` is minus the clock."""
        if self.chart is None:
            s = jnp.sqrt(-time)
            return -0.5 * (1 + self.eta**2) / s * self.noise(s, y)
        s, gain = self._gain(-time)
        noise = self.noise(s, y / self.scale(s))
        return -self.chart.velocity(self.sde, s, y, noise) - self.eta**2 * gain * noise

    def diffusion(self, time, y, args=None) -> lineax.AbstractLinearOperator:
        """Return the diffusion, a multiple of the identity, where `time` is minus the clock."""
        strength = self.eta
        if self.chart is not None:
            # The variance grows by eta**2 d(s**2) in canonical coordinates.
            s, gain = self._gain(-time)
            strength = self.eta * jnp.sqrt(2 * s * gain * self.scale(s))
        return lineax.DiagonalLinearOperator(jnp.full(y.shape, strength, y.dtype))

    def _gain(self, u: Array) -> tuple[Array, Array]:
        """Return the noise level `s` and `scale(s) ds/du` at clock `u`."""
        s, slope = jax.jvp(self.level, (u,), (jnp.ones_like(u),))
        return s, self.scale(s) * slope

    def terms(self, path: diffrax.AbstractBrownianPath | None = None) -> diffrax.AbstractTerm:
        if path is None:
            raise ValueError("ReverseSDE needs a Brownian path to drive it, got None")
        return diffrax.MultiTerm(diffrax.ODETerm(self.drift), diffrax.ControlTerm(self.diffusion, path))
