"""Linear SDEs: alpha(t), sigma(t) and everything that follows from them.

A forward process `dx = f(t) x dt + g(t) dw` has the Gaussian perturbation kernel `x_t = alpha(t) x_0 + sigma(t) n`.
In the canonical coordinates `x / alpha(t)` and `s = sigma(t) / alpha(t)` every such process is plain Brownian
motion in the clock `s**2`, which is all that samplers and likelihoods need to know. There is no number of steps
here: discretisation belongs to the sampler.
"""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix
from jaxtyping import Array

from sgm_jax.shapes import Batch, Level, PerExample, PRNGKey, dimension, expand, sum_per_example


def _require(ok: bool, message: str) -> None:
    if not ok:
        raise ValueError(message)


class AbstractSDE(eqx.Module):
    """A linear SDE on `[t_min, t_max]`, data at `t_min`, prior at `t_max`.

    Subclasses give `alpha(t)`, `sigma(t)`; they override `s` and `t` where a form exists that stays exact in
    float32 near both ends. Methods take `t` of any shape and return arrays of that shape, unless they also take
    `x`: then `t` is a scalar or `[b]`.

    References:
        Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, eq. 5, 29.
        Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, appendix B.
    """

    t_min: eqx.AbstractVar[float]
    t_max: eqx.AbstractVar[float]

    def __check_init__(self):
        if all(isinstance(t, int | float) for t in (self.t_min, self.t_max)):
            _require(
                0 <= self.t_min < self.t_max,
                f"times must satisfy 0 <= t_min < t_max, got t_min={self.t_min}, t_max={self.t_max}",
            )

    @abc.abstractmethod
    def alpha(self, t: Level) -> Array:
        """Return the scale of the data in `x_t`."""

    @abc.abstractmethod
    def sigma(self, t: Level) -> Array:
        """Return the standard deviation of the noise in `x_t` (in units of `x`)."""

    def s(self, t: Level) -> Array:
        """Return the canonical noise level `sigma / alpha` (noise in data units)."""
        return self.sigma(t) / self.alpha(t)

    def t(self, s: Level) -> Array:
        """Return the time at which the canonical noise level is `s`, by bisection on `log s(t)`.

        Levels outside `[s(t_min), s(t_max)]` give the nearer end. Differentiable through the implicit function.
        """
        s = jnp.asarray(s, jnp.result_type(float))

        def solve(level):
            # Strictly inside, so that rounding cannot push the root out of the bracket.
            level = jnp.clip(level, self.s(self.t_min) * (1 + 1e-6), self.s(self.t_max) * (1 - 1e-6))
            return optimistix.root_find(
                lambda t, level: jnp.log(self.s(t) / level),
                optimistix.Bisection(rtol=1e-7, atol=1e-9, flip=False),
                jnp.asarray(0.5 * (self.t_min + self.t_max), s.dtype),
                args=level,
                options={"lower": self.t_min, "upper": self.t_max},
                max_steps=64,
                throw=False,
            ).value

        return jax.vmap(solve)(s.reshape(-1)).reshape(s.shape)

    def log_snr(self, t: Level) -> Array:
        """Return the log signal-to-noise ratio `log(alpha**2 / sigma**2) = -2 log s`."""
        return -2.0 * jnp.log(self.s(t))

    def drift_coefficient(self, t: Level) -> Array:
        """Return `f(t) = d log alpha / dt`."""
        t = jnp.asarray(t, jnp.result_type(float))
        alpha, slope = jax.jvp(self.alpha, (t,), (jnp.ones_like(t),))
        return slope / alpha

    def diffusion(self, t: Level) -> Array:
        """Return `g(t)`, from `g**2 = alpha**2 d(s**2)/dt`."""
        t = jnp.asarray(t, jnp.result_type(float))
        s, slope = jax.jvp(self.s, (t,), (jnp.ones_like(t),))
        return self.alpha(t) * jnp.sqrt(2 * s * slope)

    def drift(self, t: Level, x: Batch) -> Batch:
        """Return the forward drift `f(t) x`."""
        return expand(self.drift_coefficient(t), x) * x

    def marginal(self, t: Level, x0: Batch) -> tuple[Array, Array]:
        """Return mean `alpha(t) x0` [b, ...] and standard deviation `sigma(t)` of `x_t` given `x0`."""
        return expand(self.alpha(t), x0) * x0, self.sigma(t)

    def perturb(self, t: Level, x0: Batch, noise: Batch) -> Batch:
        """Return `x_t = alpha(t) x0 + sigma(t) noise`."""
        return expand(self.alpha(t), x0) * x0 + expand(self.sigma(t), x0) * noise

    @property
    def prior_std(self) -> Array:
        """Standard deviation of the Gaussian prior at `t_max`, per coordinate of `x`."""
        return self.sigma(self.t_max)

    def prior_sample(self, key: PRNGKey, shape: tuple[int, ...]) -> Array:
        """Draw `x` [shape] from the prior `N(0, prior_std**2)`."""
        return self.prior_std * jax.random.normal(key, shape)

    def prior_log_density(self, x: Batch) -> PerExample:
        """Return the log density of `x` under the prior, in nats per example."""
        variance = self.prior_std**2
        return -0.5 * (sum_per_example(x**2) / variance + dimension(x) * jnp.log(2 * jnp.pi * variance))


class LinearSDE(AbstractSDE):
    """The SDE of any differentiable `alpha(t) > 0` and `sigma(t)` whose ratio `sigma / alpha` increases.

    Args:
        alpha_fn: `alpha(t)`, the scale of the data in `x_t`, for times of any shape.
        sigma_fn: `sigma(t)`, the standard deviation of the noise in `x_t`.
        t_min: where the data are, at the smallest noise level.
        t_max: where the prior is, at the largest.
    """

    alpha_fn: Callable
    sigma_fn: Callable
    t_min: float = 1e-5
    t_max: float = 1.0

    def alpha(self, t: Level) -> Array:
        return self.alpha_fn(jnp.asarray(t, jnp.result_type(float)))

    def sigma(self, t: Level) -> Array:
        return self.sigma_fn(jnp.asarray(t, jnp.result_type(float)))


class _LinearBeta(AbstractSDE):
    """What VP and sub-VP share: `B(t)`, the integral of `beta(t) = beta_min + t (beta_max - beta_min)`."""

    beta_min: eqx.AbstractVar[float]
    beta_max: eqx.AbstractVar[float]

    def __check_init__(self):
        if all(isinstance(b, int | float) for b in (self.beta_min, self.beta_max)):
            _require(
                0 <= self.beta_min < self.beta_max,
                f"rates must satisfy 0 <= beta_min < beta_max, got beta_min={self.beta_min}, beta_max={self.beta_max}",
            )

    def integrated_beta(self, t: Level) -> Array:
        """Return the integral of `beta` from 0 to `t`."""
        t = jnp.asarray(t, jnp.result_type(float))
        return t * (self.beta_min + 0.5 * t * (self.beta_max - self.beta_min))

    def _time(self, integral: Array) -> Array:
        root = jnp.sqrt(self.beta_min**2 + 2 * (self.beta_max - self.beta_min) * integral)
        return 2 * integral / (self.beta_min + root)

    def alpha(self, t: Level) -> Array:
        return jnp.exp(-0.5 * self.integrated_beta(t))

    @property
    def prior_std(self) -> Array:
        return jnp.ones(())


class VP(_LinearBeta):
    """Variance-preserving SDE: `alpha**2 + sigma**2 = 1`, `f = -beta / 2`, `g = sqrt(beta)`.

    References:
        Song et al., 2021, eq. 11, 33.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    t_min: float = 1e-5
    t_max: float = 1.0

    def sigma(self, t: Level) -> Array:
        return jnp.sqrt(-jnp.expm1(-self.integrated_beta(t)))

    def s(self, t: Level) -> Array:
        return jnp.sqrt(jnp.expm1(self.integrated_beta(t)))

    def t(self, s: Level) -> Array:
        return self._time(jnp.log1p(jnp.square(s)))


class SubVP(_LinearBeta):
    """Sub-VP SDE: VP's `alpha`, and the square of VP's `sigma`.

    References:
        Song et al., 2021, eq. 12.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    t_min: float = 1e-5
    t_max: float = 1.0

    def sigma(self, t: Level) -> Array:
        return -jnp.expm1(-self.integrated_beta(t))

    def s(self, t: Level) -> Array:
        return 2 * jnp.sinh(0.5 * self.integrated_beta(t))

    def t(self, s: Level) -> Array:
        return self._time(2 * jnp.arcsinh(0.5 * jnp.asarray(s, jnp.result_type(float))))


class VE(AbstractSDE):
    """Variance-exploding SDE: `alpha = 1`, `sigma = sigma_min (sigma_max / sigma_min)**t` (in data units).

    References:
        Song et al., 2021, eq. 9, 31.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0
    t_min: float = 1e-5
    t_max: float = 1.0

    def __check_init__(self):
        if all(isinstance(v, int | float) for v in (self.sigma_min, self.sigma_max)):
            _require(
                0 < self.sigma_min < self.sigma_max,
                f"noise levels must satisfy 0 < sigma_min < sigma_max, got sigma_min={self.sigma_min}, "
                f"sigma_max={self.sigma_max}",
            )

    def alpha(self, t: Level) -> Array:
        return jnp.ones_like(jnp.asarray(t, jnp.result_type(float)))

    def sigma(self, t: Level) -> Array:
        return self.sigma_min * jnp.exp(jnp.asarray(t) * jnp.log(self.sigma_max / self.sigma_min))

    def t(self, s: Level) -> Array:
        return jnp.log(jnp.asarray(s) / self.sigma_min) / jnp.log(self.sigma_max / self.sigma_min)


class EDM(AbstractSDE):
    """The process whose time is its noise level: `alpha = 1`, `sigma = t` (in data units).

    References:
        Karras et al., 2022, section 3.
    """

    t_min: float = 0.002
    t_max: float = 80.0

    def alpha(self, t: Level) -> Array:
        return jnp.ones_like(jnp.asarray(t, jnp.result_type(float)))

    def sigma(self, t: Level) -> Array:
        return jnp.asarray(t, jnp.result_type(float))

    def t(self, s: Level) -> Array:
        return jnp.asarray(s, jnp.result_type(float))


class Cosine(AbstractSDE):
    """Cosine schedule: `alpha = cos(phi(t)) / cos(phi(0))`, `phi(t) = pi/2 (t + offset) / (1 + offset)`, VP.

    Args:
        offset: 0.008 is the published value; 0 gives `alpha = cos(pi t / 2)`, `sigma = sin(pi t / 2)`.

    References:
        Nichol and Dhariwal, Improved Denoising Diffusion Probabilistic Models, 2021, eq. 17.
    """

    offset: float = 0.008
    t_min: float = 1e-4
    t_max: float = 0.995

    def __check_init__(self):
        if isinstance(self.offset, int | float):
            _require(self.offset >= 0, f"offset must be >= 0, got {self.offset}")
        if isinstance(self.t_max, int | float):
            _require(self.t_max < 1, f"t_max must be < 1, where the signal is gone, got {self.t_max}")

    def _angles(self, t: Level) -> tuple[Array, Array, float]:
        """Return `phi(t)`, `phi(t) - phi(0)` without cancellation, and `phi(0)`."""
        rate = 0.5 * jnp.pi / (1 + self.offset)
        t = jnp.asarray(t, jnp.result_type(float))
        return rate * (t + self.offset), rate * t, rate * self.offset

    def alpha(self, t: Level) -> Array:
        phi, _, start = self._angles(t)
        return jnp.cos(phi) / jnp.cos(start)

    def sigma(self, t: Level) -> Array:
        phi, rise, start = self._angles(t)
        # cos(a)^2 - cos(b)^2 = sin(b + a) sin(b - a) keeps sigma exact near t = 0.
        return jnp.sqrt(jnp.sin(phi + start) * jnp.sin(rise)) / jnp.cos(start)

    def s(self, t: Level) -> Array:
        phi, rise, start = self._angles(t)
        return jnp.sqrt(jnp.sin(phi + start) * jnp.sin(rise)) / jnp.cos(phi)

    def t(self, s: Level) -> Array:
        # 1 + s^2 = cos(start)^2 / cos(phi)^2, hence tan(phi)^2 = tan(start)^2 + s^2 / cos(start)^2.
        s = jnp.asarray(s, jnp.result_type(float))
        rate = 0.5 * jnp.pi / (1 + self.offset)
        start = rate * self.offset
        end = jnp.hypot(jnp.tan(start), s / jnp.cos(start))
        # arctan(a) - arctan(b) with a^2 - b^2 = (s / cos(start))^2 known exactly.
        difference = jnp.square(s / jnp.cos(start)) / jnp.maximum(end + jnp.tan(start), jnp.finfo(s.dtype).tiny)
        return jnp.arctan2(difference, 1 + end * jnp.tan(start)) / rate

    @property
    def prior_std(self) -> Array:
        return jnp.ones(())


class RectifiedFlow(AbstractSDE):
    """Straight interpolation: `alpha = 1 - t`, `sigma = t`, `s = t / (1 - t)`.

    References:
        Liu et al., Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow, 2022.
        Lipman et al., Flow Matching for Generative Modeling, 2022.
    """

    t_min: float = 1e-4
    t_max: float = 0.995

    def __check_init__(self):
        if isinstance(self.t_max, int | float):
            _require(self.t_max < 1, f"t_max must be < 1, where the signal is gone, got {self.t_max}")

    def alpha(self, t: Level) -> Array:
        return 1 - jnp.asarray(t, jnp.result_type(float))

    def sigma(self, t: Level) -> Array:
        return jnp.asarray(t, jnp.result_type(float))

    def t(self, s: Level) -> Array:
        s = jnp.asarray(s, jnp.result_type(float))
        return s / (1 + s)
