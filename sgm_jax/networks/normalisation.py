"""Normalisation of feature maps that is told of the noise level."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Levels = Int[Array, " b"] | None


class InstanceNormPlus(nn.Module):
    """Normalise each channel over space, and give back its mean relative to the other channels' (InstanceNorm++).

    `scale ((x - m) / sqrt(v + eps) + alpha (m - mean(m)) / sqrt(var(m) + eps)) + bias`, with mean `m` and variance `v`
    of each channel over space; the variance of `m` over channels is the unbiased one. Statistics are float32.

    Attributes:
        levels: number of noise levels with parameters of their own, 0 for the same at all levels.
        epsilon: added to variances.
        dtype: type of the result.

    References:
        Song and Ermon, "Generative Modeling by Estimating Gradients of the Data Distribution", 2019, appendix A.1.
    """

    levels: int = 0
    epsilon: float = 1e-5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], level: Levels) -> Float[Array, "b h w c"]:
        """Return `x` normalised; `level` [b] is None where all levels share their parameters."""
        shape = (self.levels, x.shape[-1]) if self.levels else x.shape[-1:]
        scale, alpha = (self.param(name, _near_one, shape) for name in ("scale", "alpha"))
        bias = self.param("bias", nn.initializers.zeros, shape)
        if self.levels:
            scale, alpha, bias = scale[level], alpha[level], bias[level]
        values = x.astype(jnp.float32)
        mean, variance = values.mean(axis=(1, 2)), values.var(axis=(1, 2))
        spread = mean.var(axis=-1, ddof=1, keepdims=True)
        relative = (mean - mean.mean(axis=-1, keepdims=True)) * jax.lax.rsqrt(spread + self.epsilon)
        factor, offset = scale * jax.lax.rsqrt(variance + self.epsilon), scale * alpha * relative + bias
        spatial = lambda moment: moment[:, None, None]
        return ((values - spatial(mean)) * spatial(factor) + spatial(offset)).astype(self.dtype)


def _near_one(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    return 1 + 0.02 * jax.random.normal(key, shape, dtype)
