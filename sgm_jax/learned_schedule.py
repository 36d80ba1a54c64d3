"""A variance-preserving SDE whose noise schedule is learned."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Level


class Rise(eqx.Module):
    """An increasing function from [0, 1] onto itself: `t` plus a sum of sigmoids with positive weights and slopes.

    Args:
        log_weights: logarithms of the weights [k].
        log_slopes: logarithms of the slopes [k].
        centres: where the sigmoids rise [k].

    References:
        Kingma et al., Variational Diffusion Models, 2021, appendix H (its first layer is the normalisation here).
    """

    log_weights: Float[Array, " k"] = eqx.field(converter=jnp.asarray)
    log_slopes: Float[Array, " k"] = eqx.field(converter=jnp.asarray)
    centres: Float[Array, " k"] = eqx.field(converter=jnp.asarray)

    def __call__(self, t: Level) -> Array:
        start, end = self._rise(0.0), self._rise(1.0)
        return (self._rise(t) - start) / (end - start)

    def _rise(self, t: Level) -> Array:
        t = jnp.asarray(t, jnp.result_type(float))
        steps = jax.nn.sigmoid(jnp.exp(self.log_slopes) * (t[..., None] - self.centres))
        return t + jnp.sum(jnp.exp(self.log_weights) * steps, axis=-1)


class LearnedVP(AbstractSDE):
    """A variance-preserving SDE whose arrays are parameters: make one with `learned_vp`, and train it like a network.

    `log SNR(t) = log_snr_max - exp(log_span) rise(t)`, with `alpha**2 = sigmoid(log SNR)`, `sigma**2 = 1 - alpha**2`.

    Args:
        log_snr_max: log signal-to-noise ratio at `t_min`, a scalar.
        log_span: logarithm of how far it falls until `t_max`, a scalar.
        rise: how it falls in between.

    References:
        Kingma et al., Variational Diffusion Models, 2021, section 3.2.
    """

    log_snr_max: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    log_span: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    rise: Rise
    t_min: float = eqx.field(static=True, default=0.0)
    t_max: float = eqx.field(static=True, default=1.0)

    def log_snr(self, t: Level) -> Array:
        return self.log_snr_max - jnp.exp(self.log_span) * self.rise(t)

    def alpha(self, t: Level) -> Array:
        return jnp.sqrt(jax.nn.sigmoid(self.log_snr(t)))

    def sigma(self, t: Level) -> Array:
        return jnp.sqrt(jax.nn.sigmoid(-self.log_snr(t)))

    def s(self, t: Level) -> Array:
        return jnp.exp(-0.5 * self.log_snr(t))

    def t(self, s: Level) -> Array:
        """Return the time at which the canonical noise level is `s`: by bisection, then one step of Newton's method.

        Levels outside `[s(t_min), s(t_max)]` give the nearer end. The Newton step is what gradients go through.
        """
        wanted = -2 * jnp.log(jnp.asarray(s, jnp.result_type(float)))
        fixed, goal = jax.lax.stop_gradient((self, wanted))

        def halve(_, bracket):
            low, high = bracket
            middle = 0.5 * (low + high)
            later = fixed.log_snr(middle) > goal
            return jnp.where(later, middle, low), jnp.where(later, high, middle)

        ends = jnp.full_like(goal, self.t_min), jnp.full_like(goal, self.t_max)
        t = 0.5 * sum(jax.lax.fori_loop(0, 24, halve, ends))
        slope = jax.jvp(fixed.log_snr, (t,), (jnp.ones_like(t),))[1]
        return jnp.clip(t + (wanted - self.log_snr(t)) / slope, self.t_min, self.t_max)

    @property
    def prior_std(self) -> Array:
        return jnp.ones(())

    def with_fixed_interior(self) -> "LearnedVP":
        """Return the same SDE, through which gradients reach the end points alone."""
        return eqx.tree_at(lambda sde: sde.rise, self, jax.lax.stop_gradient(self.rise))

    def with_fixed_ends(self) -> "LearnedVP":
        """Return the same SDE, through which gradients reach what is between the end points alone."""
        ends = lambda sde: (sde.log_snr_max, sde.log_span)
        return eqx.tree_at(ends, self, jax.lax.stop_gradient(ends(self)))


def learned_vp(log_snr_max: float = 13.3, log_snr_min: float = -5.0, width: int = 32) -> LearnedVP:
    """Return a schedule to be learned, which starts nearly linear in the log signal-to-noise ratio.

    Args:
        log_snr_max: log signal-to-noise ratio `log(alpha**2 / sigma**2)` at `t = 0`.
        log_snr_min: the same at `t = 1`.
        width: number of sigmoids.

    Raises:
        ValueError: if the ratio does not fall, or `width` is below 1.
    """
    if not log_snr_min < log_snr_max:
        raise ValueError(f"log_snr_min must be below log_snr_max={log_snr_max}, got {log_snr_min}")
    if width < 1:
        raise ValueError(f"width must be at least 1, got {width}")
    even = jnp.ones(width)
    rise = Rise(-jnp.log(width * even), jnp.log(width * even), (jnp.arange(width) + 0.5) / width)
    span = jnp.log(log_snr_max - log_snr_min)
    return LearnedVP(log_snr_max=jnp.asarray(log_snr_max, even.dtype), log_span=span, rise=rise)
