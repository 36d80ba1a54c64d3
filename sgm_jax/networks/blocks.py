"""Building blocks of the convolutional networks: normalisation, resampling, residual block, attention.

All take and return images [b, h, w, c] of any height and width.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgm_jax.networks.embeddings import scaled_init

RESAMPLINGS = ("none", "down", "up")


def upsample(x: Float[Array, "b h w c"], factor: int = 2) -> Float[Array, "b H W c"]:
    """Repeat every pixel `factor` times along height and width."""
    b, h, w, c = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None, :], (b, h, factor, w, factor, c))
    return x.reshape(b, h * factor, w * factor, c)


def downsample(x: Float[Array, "b h w c"], factor: int = 2) -> Float[Array, "b H W c"]:
    """Average over `factor` x `factor` windows; sizes that do not divide are filled by repeating the edge."""
    x = pad_to_multiple(x, factor, mode="edge")
    b, h, w, c = x.shape
    return x.reshape(b, h // factor, factor, w // factor, factor, c).mean(axis=(2, 4))


def pad_to_multiple(x: Float[Array, "b h w c"], factor: int, mode: str = "constant") -> Float[Array, "b H W c"]:
    """Extend height and width at their ends to the next multiple of `factor`."""
    extra = [(0, -size % factor) for size in x.shape[1:3]]
    return jnp.pad(x, ((0, 0), *extra, (0, 0)), mode=mode) if any(end for _, end in extra) else x


def space_to_depth(x: Float[Array, "b h w c"], factor: int) -> Float[Array, "b H W C"]:
    """Turn every `factor` x `factor` patch into one pixel of `factor**2 * c` channels (padding with zeros)."""
    x = pad_to_multiple(x, factor)
    b, h, w, c = x.shape
    x = x.reshape(b, h // factor, factor, w // factor, factor, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h // factor, w // factor, factor * factor * c)


def depth_to_space(x: Float[Array, "b h w c"], factor: int) -> Float[Array, "b H W C"]:
    """Undo `space_to_depth`."""
    b, h, w, c = x.shape
    x = x.reshape(b, h, w, factor, factor, c // (factor * factor))
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h * factor, w * factor, -1)


class GroupNorm(nn.Module):
    """Normalise over space and groups of at least four channels, at most 32 groups; statistics in float32.

    Written as one scale and one shift a channel and example, so that the large array is read twice and
    written once.

    References:
        Wu, He, "Group Normalization", 2018, equation 1; Song et al., "Score-Based Generative Modeling through
        SDEs", 2021, appendix H, for the number of groups.
    """

    epsilon: float = 1e-6
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Return `x` normalised, scaled and shifted."""
        b, channels = x.shape[0], x.shape[-1]
        groups = group_count(channels)
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        values = x.astype(jnp.float32)

        def per_group(moment):
            moment = moment.reshape(b, groups, channels // groups).mean(axis=-1, keepdims=True)
            return jnp.broadcast_to(moment, (b, groups, channels // groups)).reshape(b, channels)

        mean = per_group(values.mean(axis=(1, 2)))
        variance = per_group(jnp.square(values).mean(axis=(1, 2))) - jnp.square(mean)
        factor = scale * jax.lax.rsqrt(jnp.maximum(variance, 0.0) + self.epsilon)
        offset = bias - mean * factor
        return (values * factor[:, None, None] + offset[:, None, None]).astype(self.dtype)


def group_count(channels: int) -> int:
    """Return the number of groups: `min(channels // 4, 32)`, lowered to the next divisor of `channels`."""
    groups = max(1, min(channels // 4, 32))
    while channels % groups:
        groups -= 1
    return groups


class Conv(nn.Module):
    """Convolve with a square kernel, keeping height and width."""

    features: int
    size: int = 3
    init_scale: float = 1.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w features"]:
        """Return the convolution of `x`."""
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", scaled_init(self.init_scale), shape).astype(self.dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        x = x.astype(self.dtype)
        if self.size == 1:
            return x @ kernel[0, 0] + bias
        return (
            jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + bias
        )


class ResidualBlock(nn.Module):
    """Two convolutions around a skip connection, told of the condition between them, resampling inside.

    `(skip(resample(x)) + conv(dropout(act(norm(conv(resample(act(norm(x)))) + dense(act(emb))))))) * skip_scale`

    Attributes:
        features: channels of the result.
        resample: "none", "down" (half the size) or "up" (twice the size).
        dropout: probability of dropping a number before the second convolution.
        skip_scale: factor on the sum; `2**-0.5` keeps the variance of two independent terms.
        init_scale: scale of the second convolution's initial weights; 0 makes the block start as its skip.
        dtype: type to compute in.

    References:
        Song et al., "Score-Based Generative Modeling through SDEs", 2021, appendix H (after Brock, Donahue,
        Simonyan, "Large Scale GAN Training", 2019, figure 15).
    """

    features: int
    resample: str = "none"
    dropout: float = 0.0
    skip_scale: float = 2**-0.5
    init_scale: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], embedding: Float[Array, "b e"], deterministic: bool = True
    ) -> Float[Array, "b H W features"]:
        """Return the block's output.

        Args:
            x: images [b, h, w, c].
            embedding: condition [b, e], before its activation.
            deterministic: False applies dropout, with flax's "dropout" key.

        Raises:
            ValueError: if `resample` is unknown.
        """
        if self.resample not in RESAMPLINGS:
            raise ValueError(f"resample must be one of {', '.join(RESAMPLINGS)}, got {self.resample!r}")
        resample = {"none": lambda x: x, "down": downsample, "up": upsample}[self.resample]
        h = resample(nn.swish(GroupNorm(dtype=self.dtype, name="norm_0")(x)))
        h = Conv(self.features, dtype=self.dtype, name="conv_0")(h)
        condition = nn.Dense(self.features, kernel_init=scaled_init(), dtype=self.dtype, name="condition")
        h = h + condition(nn.swish(embedding))[:, None, None]
        h = nn.swish(GroupNorm(dtype=self.dtype, name="norm_1")(h))
        h = nn.Dropout(self.dropout, name="dropout")(h, deterministic=deterministic)
        h = Conv(self.features, init_scale=self.init_scale, dtype=self.dtype, name="conv_1")(h)
        x = resample(x)
        if self.features != x.shape[-1] or self.resample != "none":
            x = Conv(self.features, size=1, dtype=self.dtype, name="skip")(x)
        return (x + h) * jnp.asarray(self.skip_scale, h.dtype)


class Attention(nn.Module):
    """Attend over all positions of an image, around a skip connection.

    Attributes:
        heads: number of heads, a divisor of the channels.
        skip_scale: factor on the sum of skip and attention.
        init_scale: scale of the output projection's initial weights.
        dtype: type to compute in.

    References:
        Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models", 2020, appendix B.
    """

    heads: int = 1
    skip_scale: float = 2**-0.5
    init_scale: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Return `x` with every position informed of every other.

        Raises:
            ValueError: if the channels are no multiple of `heads`.
        """
        b, h, w, channels = x.shape
        if channels % self.heads:
            raise ValueError(f"heads must divide the {channels} channels of the feature map, got {self.heads}")
        normed = GroupNorm(dtype=self.dtype, name="norm")(x)

        def project(name, inputs, scale):
            dense = nn.Dense(channels, kernel_init=scaled_init(scale), dtype=self.dtype, name=name)
            return dense(inputs)

        query, key, value = (
            project(name, normed, 0.1).reshape(b, h * w, self.heads, channels // self.heads)
            for name in ("query", "key", "value")
        )
        attended = jax.nn.dot_product_attention(query, key, value).reshape(b, h, w, channels)
        return (x + project("out", attended, self.init_scale)) * jnp.asarray(self.skip_scale, x.dtype)
