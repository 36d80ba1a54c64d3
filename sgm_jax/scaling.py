"""Between raw data and the model: maps whose slope is all that bits per dimension need to know."""

import abc
import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from sgm_jax.shapes import Batch, PerExample, PRNGKey, dimension, sum_per_example


class AbstractScaling(eqx.Module):
    """A map of raw integers `0 .. levels - 1` to the model's range, number by number.

    An integer stands for a bin of width one: `x = from_unit((raw + u) / levels)`, with `u` uniform in [0, 1) for
    dequantised data and one half, the bin's centre, otherwise. Continuous data stay as they are.
    """

    levels: eqx.AbstractVar[int | None]
    low: eqx.AbstractVar[float]
    high: eqx.AbstractVar[float]

    @abc.abstractmethod
    def from_unit(self, unit: Batch) -> Batch:
        """Map numbers in [0, 1] to the model's range, in increasing order."""

    @abc.abstractmethod
    def to_unit(self, x: Batch) -> Batch:
        """Map them back."""

    @abc.abstractmethod
    def log_volume(self, x: Batch) -> PerExample:
        """Return the logarithm of the volume that a bin of the raw data has around `x` [b, ...], in nats [b].

        Added to the log density of `x` it makes that of the raw data.
        """

    @property
    def bin_width(self) -> float:
        """Width in the model's range of what an integer stands for; 0 for continuous data."""
        return 0.0 if self.levels is None else (self.high - self.low) / self.levels

    def to_model(self, raw: Num[Array, "b ..."], offset: Array | float = 0.5) -> Batch:
        """Map raw data [b, ...] into the model's range, each integer at `offset` within its bin."""
        raw = jnp.asarray(raw, jnp.result_type(float))
        return raw if self.levels is None else self.from_unit((raw + offset) / self.levels)

    def dequantise(self, key: PRNGKey, raw: Num[Array, "b ..."]) -> Batch:
        """Map raw data [b, ...] into the model's range, uniformly within their bins.

        References:
            Theis et al., A Note on the Evaluation of Generative Models, 2016, section 3.1.
        """
        return self.to_model(raw, 0.0 if self.levels is None else jax.random.uniform(key, raw.shape))

    def to_raw(self, x: Batch) -> Num[Array, "b ..."]:
        """Map model data [b, ...] back to raw data: to the integer whose bin they fall in, clipped to the range."""
        if self.levels is None:
            return x
        raw = jnp.floor(self.to_unit(x) * self.levels)
        return jnp.clip(raw, 0, self.levels - 1).astype(jnp.uint8 if self.levels <= 256 else jnp.int32)

    def bits_per_dim(self, log_prob: PerExample, x: Batch) -> Float[Array, " b"]:
        """Turn log densities of dequantised model data, in nats, into bits per dimension of the raw data.

        Args:
            log_prob: log densities [b] in nats.
            x: what they are the densities of [b, ...].
        """
        return -(log_prob + self.log_volume(x)) / (dimension(x) * jnp.log(2.0))


class Scaling(AbstractScaling):
    """Map raw integers to the interval `[low, high]`, in proportion.

    Its slope adds to 8-bit data in [-1, 1] the 7 bits that are often written out by hand.

    Args:
        levels: number of integer values of the raw data; None for continuous data.
        low: lower end of the model's data range.
        high: upper end of it.
    """

    levels: int | None = eqx.field(static=True)
    low: float = eqx.field(static=True, default=-1.0)
    high: float = eqx.field(static=True, default=1.0)

    def __check_init__(self):
        _check_levels(self.levels)
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got low={self.low}, high={self.high}")

    def from_unit(self, unit: Batch) -> Batch:
        """Return `low + (high - low) unit`."""
        return self.low + (self.high - self.low) * unit

    def to_unit(self, x: Batch) -> Batch:
        """Return `(x - low) / (high - low)`."""
        return (x - self.low) / (self.high - self.low)

    def log_volume(self, x: Batch) -> PerExample:
        """Return `log((high - low) / levels)` a number of the example; 0 for continuous data."""
        slope = 1.0 if self.levels is None else (self.high - self.low) / self.levels
        return jnp.full(x.shape[0], dimension(x) * math.log(slope))


class LogitScaling(AbstractScaling):
    """Map raw integers by `x = logit(alpha + (1 - 2 alpha) unit)`, so that a density without bounds suits them.

    Args:
        levels: number of integer values of the raw data.
        alpha: how far the ends stay from 0 and 1, where the logit is infinite.

    References:
        Dinh et al., Density Estimation Using Real NVP, 2017, section 4.1, where `1 - alpha` stands for `1 - 2 alpha`.
        Papamakarios et al., Masked Autoregressive Flow for Density Estimation, 2017, section 4.3.
    """

    levels: int | None = eqx.field(static=True)
    alpha: float = eqx.field(static=True, default=0.05)

    def __check_init__(self):
        if self.levels is None:
            raise ValueError("levels of a logit scaling must be those of integer data, got None")
        _check_levels(self.levels)
        if not 0 < self.alpha < 0.5:
            raise ValueError(f"alpha must be in (0, 1/2), got {self.alpha}")

    @property
    def high(self) -> float:
        """Upper end of the model's data range."""
        return math.log((1 - self.alpha) / self.alpha)

    @property
    def low(self) -> float:
        """Lower end of it."""
        return -self.high

    def from_unit(self, unit: Batch) -> Batch:
        """Return `logit(alpha + (1 - 2 alpha) unit)`."""
        return jax.scipy.special.logit(self.alpha + (1 - 2 * self.alpha) * unit)

    def to_unit(self, x: Batch) -> Batch:
        """Return `(sigmoid(x) - alpha) / (1 - 2 alpha)`."""
        return (jax.nn.sigmoid(x) - self.alpha) / (1 - 2 * self.alpha)

    def log_volume(self, x: Batch) -> PerExample:
        """Return the sum of `log((1 - 2 alpha) / levels) - log sigmoid(x) - log sigmoid(-x)` over the example."""
        assert self.levels is not None  # as checked when it was made
        slope = (1 - 2 * self.alpha) / self.levels
        return sum_per_example(math.log(slope) - jax.nn.log_sigmoid(x) - jax.nn.log_sigmoid(-x))


def _check_levels(levels: int | None) -> None:
    if levels is not None and levels < 2:
        raise ValueError(f"levels must be at least 2, or None for continuous data, got {levels}")
