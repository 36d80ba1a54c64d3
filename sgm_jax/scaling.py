"""Between raw data and the model: one affine map, whose slope is all that bits per dimension need to know."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from sgm_jax.shapes import Batch, PerExample, PRNGKey


class Scaling(eqx.Module):
    """Map raw integers `0 .. levels - 1` to the interval `[low, high]`; continuous data stay as they are.

    An integer stands for a bin of width one: `x = low + (high - low) (raw + u) / levels`, with `u` uniform in
    [0, 1) for dequantised data and one half, the bin's centre, otherwise.

    Args:
        levels: number of integer values of the raw data; None for continuous data.
        low: lower end of the model's data range.
        high: upper end of it.
    """

    levels: int | None = eqx.field(static=True)
    low: float = eqx.field(static=True, default=-1.0)
    high: float = eqx.field(static=True, default=1.0)

    def __check_init__(self):
        if self.levels is not None and self.levels < 2:
            raise ValueError(f"levels must be at least 2, or None for continuous data, got {self.levels}")
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got low={self.low}, high={self.high}")

    @property
    def bin_width(self) -> float:
        """Width in the model's range of what an integer stands for; 0 for continuous data."""
        return 0.0 if self.levels is None else (self.high - self.low) / self.levels

    def to_model(self, raw: Num[Array, "b ..."], offset: Array | float = 0.5) -> Batch:
        """Map raw data [b, ...] into the model's range, each integer at `offset` within its bin."""
        raw = jnp.asarray(raw, jnp.result_type(float))
        return raw if self.levels is None else self.low + (self.high - self.low) * (raw + offset) / self.levels

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
        raw = jnp.floor((x - self.low) / (self.high - self.low) * self.levels)
        return jnp.clip(raw, 0, self.levels - 1).astype(jnp.uint8 if self.levels <= 256 else jnp.int32)

    def bits_per_dim(self, log_prob: PerExample, size: int) -> Float[Array, " b"]:
        """Turn log densities of dequantised model data [b], in nats, into bits per dimension of the raw data.

        The density of the raw data is the model's times the slope of the map, which for 8-bit data in [-1, 1]
        adds the 7 bits that are often written out by hand.

        Args:
            log_prob: log densities [b] in nats.
            size: numbers in one example.
        """
        slope = 1.0 if self.levels is None else (self.high - self.low) / self.levels
        return -(log_prob / size + jnp.log(slope)) / jnp.log(2.0)
