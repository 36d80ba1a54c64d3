"""Building blocks of the convolutional networks: normalisation, convolution, residual block, attention.

All take and return images [b, h, w, c] of any height and width.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from sgm_jax.naming import choose
from sgm_jax.networks.dropout import Dropout
from sgm_jax.networks.embeddings import scaled_init
from sgm_jax.networks.resampling import BOX, downsample, upsample


class GroupNorm(nn.Module):
    """Normalise over space and groups of channels; statistics in float32.

    Written as one scale and one shift a channel and example, so that the large array is read twice and
    written once.

    Attributes:
        epsilon: added to the variance.
        dtype: type of the result.
        groups: number of groups at most.
        group_size: channels a group at least.

    References:
        Wu, He, "Group Normalization", 2018, equation 1; Song et al., "Score-Based Generative Modeling through
        SDEs", 2021, appendix H, for the number of groups.
    """

    epsilon: float = 1e-6
    dtype: Any = jnp.float32
    groups: int = 32
    group_size: int = 4

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Return `x` normalised, scaled and shifted."""
        b, channels = x.shape[0], x.shape[-1]
        groups = group_count(channels, self.groups, self.group_size)
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        values = x.astype(jnp.float32)
        moments = jnp.stack([values.mean(axis=(1, 2)), jnp.square(values).mean(axis=(1, 2))])
        moments = moments.reshape(2, b, groups, channels // groups).mean(axis=-1, keepdims=True)
        mean, square = jnp.broadcast_to(moments, (2, b, groups, channels // groups)).reshape(2, b, channels)
        factor = scale * jax.lax.rsqrt(jnp.maximum(square - jnp.square(mean), 0.0) + self.epsilon)
        offset = bias - mean * factor
        return (values * factor[:, None, None] + offset[:, None, None]).astype(self.dtype)


def group_count(channels: int, most: int = 32, size: int = 4) -> int:
    """Return the number of groups: `min(channels // size, most)`, lowered to the next divisor of `channels`."""
    groups = max(1, min(channels // size, most))
    while channels % groups:
        groups -= 1
    return groups


class Conv(nn.Module):
    """Convolve with a square kernel, with as much padding as keeps height and width.

    Attributes:
        features: channels of the result.
        size: height and width of the kernel.
        init_scale: scale of the initial kernel; 0 starts at zero.
        dtype: type to compute in.
        stride: step between the windows; with one above 1 there is no padding.
        gain: factor on the result, put on the kernel and the bias.
    """

    features: int
    size: int = 3
    init_scale: float = 1.0
    dtype: Any = jnp.float32
    stride: int = 1
    gain: float = 1.0

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b H W features"]:
        """Return the convolution of `x`."""
        product, bias = self.parts(x)
        return product + bias

    @nn.compact
    def parts(self, x: Float[Array, "b h w c"]) -> tuple[Float[Array, "b H W features"], Float[Array, " features"]]:
        """Return the products with the kernel and the bias, so that what is added besides goes to the bias first."""
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", scaled_init(self.init_scale), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        kernel, bias = ((self.gain * p).astype(self.dtype) for p in (kernel, bias))
        x = x.astype(self.dtype)
        return x @ kernel[0, 0] if self.size == self.stride == 1 else convolve(x, kernel, self.stride), bias


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def convolve(x: Float[Array, "b h w i"], kernel: Float[Array, "k k i o"], stride: int) -> Float[Array, "b H W o"]:
    """Convolve, with as much padding as keeps height and width if `stride` is 1, and without padding if it is more.

    The derivatives are written such that their transposes are convolutions of this very form. On CPUs, XLA is fast with
    no other, and inside of loops it does not bring others into it: an adaptive likelihood there takes 15 times as long.
    """
    return _convolve(x, kernel, stride)


def _convolve(x, kernel, stride, layouts=("NHWC", "HWIO", "NHWC")):
    strides, padding = (stride, stride), "SAME" if stride == 1 else "VALID"
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=layouts)


def _convolve_jvp(stride, primals, tangents):
    (x, kernel), (dx, dkernel) = primals, tangents
    parts = []
    if not isinstance(dx, SymbolicZero):
        parts.append(_convolve(dx, jnp.swapaxes(kernel, 2, 3), stride, ("NHWC", "HWOI", "NHWC")))
    if not isinstance(dkernel, SymbolicZero):
        # Transposed, the examples are the channels that are summed over.
        sides = jnp.transpose(x, (3, 1, 2, 0)), jnp.transpose(dkernel, (2, 0, 1, 3))
        parts.append(jnp.transpose(_convolve(*sides, stride, ("CHWN", "IHWO", "HWNC")), (2, 0, 1, 3)))
    return convolve(x, kernel, stride), sum(parts)


convolve.defjvp(_convolve_jvp, symbolic_zeros=True)


@jax.custom_jvp
def written(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return `x`, with derivatives that XLA writes down on CPUs: for the sums that residual blocks end with.

    It joins what is elementwise and cheap to whatever uses it, however often: each use of a block's gradient would
    compute it anew, from those of all blocks that follow.
    """
    return x


@written.defjvp
def _written_jvp(primals, tangents):
    def write(tangent):
        if jax.__version_info__ >= (0, 11):
            return jax.lax.optimization_barrier(tangent)
        # Before, XLA took barriers away too early; but a division, if by what it cannot know to be one, is not cheap.
        return tangent / jax.lax.optimization_barrier(jnp.ones_like(tangent))

    return written(*primals), jax.lax.platform_dependent(*tangents, cpu=write, default=lambda tangent: tangent)


class ResidualBlock(nn.Module):
    """Two convolutions around a skip connection, told of the condition between them, resampling inside.

    `(skip(resample(x)) + conv(dropout(act(told(norm(conv(resample(act(norm(x))))))))) * skip_scale`, where the
    condition's dense layer gives what is added before the second norm ("shift") or a scale and a shift for what
    comes out of it ("scale_shift": `(1 + scale) norm(h) + shift`).

    Attributes:
        features: channels of the result.
        resample: "none", "down" (half the size) or "up" (twice the size).
        dropout: probability of dropping a number before the second convolution.
        skip_scale: factor on the sum; `2**-0.5` keeps the variance of two independent terms.
        init_scale: scale of the second convolution's initial weights; 0 makes the block start as its skip.
        dtype: type to compute in.
        resample_filter: taps of the filter that resamples.
        conditioning: "shift" or "scale_shift".
        skip_projection: where the skip connection has a 1 x 1 convolution: "resampled" for where channels or
            resolution change, "channels" for where channels do.
        norm: makes the normalisation layers.

    References:
        Song et al., "Score-Based Generative Modeling through SDEs", 2021, appendix H (after Brock, Donahue,
        Simonyan, "Large Scale GAN Training", 2019, figure 15); Dhariwal and Nichol, "Diffusion Models Beat GANs
        on Image Synthesis", 2021, section 3.1, for "scale_shift".
    """

    features: int
    resample: str = "none"
    dropout: float = 0.0
    skip_scale: float = 2**-0.5
    init_scale: float = 0.0
    dtype: Any = jnp.float32
    resample_filter: tuple[int, ...] = BOX
    conditioning: str = "shift"
    skip_projection: str = "resampled"
    norm: Callable[..., nn.Module] = GroupNorm

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], embedding: Float[Array, "b e"] | None, deterministic: bool = True
    ) -> Float[Array, "b H W features"]:
        """Return the block's output.

        Args:
            x: images [b, h, w, c].
            embedding: condition [b, e], before its activation; None leaves it out.
            deterministic: False applies dropout, with flax's "dropout" key.

        Raises:
            ValueError: if `resample`, `conditioning` or `skip_projection` is unknown.
        """
        resample = choose("resample", self.resample, {"none": _keep, "down": downsample, "up": upsample})
        parts = choose("conditioning", self.conditioning, {"shift": 1, "scale_shift": 2})
        changes = {"channels": self.features != x.shape[-1]}
        changes["resampled"] = changes["channels"] or self.resample != "none"
        projected = choose("skip_projection", self.skip_projection, changes)

        told = jnp.zeros((parts, 1, 1, 1, 1), self.dtype)
        if embedding is not None:
            condition = nn.Dense(parts * self.features, kernel_init=scaled_init(), dtype=self.dtype, name="condition")
            told = jnp.split(condition(nn.swish(embedding))[:, None, None], parts, axis=-1)
        h = resample(nn.swish(self.norm(dtype=self.dtype, name="norm_0")(x)), self.resample_filter)
        h, bias = Conv(self.features, dtype=self.dtype, name="conv_0").parts(h)
        norm = self.norm(dtype=self.dtype, name="norm_1")
        if parts == 1:
            # In float32, as the norm adds: otherwise XLA writes it out at the size of the feature map for cuDNN.
            h = norm(h + (bias + told[0]).astype(jnp.float32))
        else:
            h = (1 + told[0]) * norm(h + bias) + told[1]
        h = Dropout(self.dropout, name="dropout")(nn.swish(h), deterministic)
        conv = functools.partial(Conv, self.features, dtype=self.dtype, gain=self.skip_scale)
        h, bias = conv(init_scale=self.init_scale, name="conv_1").parts(h)
        x = resample(x, self.resample_filter)
        if projected:
            x, more = conv(size=1, name="skip").parts(x)
            bias += more
        else:
            x = x * jnp.asarray(self.skip_scale, x.dtype)
        return written(x + (h + bias))


def _keep(x: Float[Array, "b h w c"], taps: tuple[int, ...]) -> Float[Array, "b h w c"]:
    return x


class Attention(nn.Module):
    """Attend over all positions of an image, around a skip connection.

    Attributes:
        heads: number of heads, a divisor of the channels.
        skip_scale: factor on the sum of skip and attention.
        init_scale: scale of the output projection's initial weights.
        dtype: type to compute in.
        head_channels: channels a head, a divisor of the channels; given, it takes the place of `heads`.
        norm: makes the normalisation layer.

    References:
        Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models", 2020, appendix B; Vaswani et al., "Attention
        Is All You Need", 2017, section 3.2, for the heads.
    """

    heads: int = 1
    skip_scale: float = 2**-0.5
    init_scale: float = 0.0
    dtype: Any = jnp.float32
    head_channels: int | None = None
    norm: Callable[..., nn.Module] = GroupNorm

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Return `x` with every position informed of every other.

        Raises:
            ValueError: if the channels are no multiple of `heads` or `head_channels`.
        """
        b, h, w, channels = x.shape
        name, divisor = ("head_channels", self.head_channels) if self.head_channels else ("heads", self.heads)
        if channels % divisor:
            raise ValueError(f"{name} must divide the {channels} channels of the feature map, got {divisor}")
        heads = channels // divisor if self.head_channels else divisor
        normed = self.norm(dtype=self.dtype, name="norm")(x)

        def project(name, inputs, scale):
            dense = nn.Dense(channels, kernel_init=scaled_init(scale), dtype=self.dtype, name=name)
            return dense(inputs)

        query, key, value = (
            project(name, normed, 0.1).reshape(b, h * w, heads, channels // heads) for name in ("query", "key", "value")
        )
        attended = jax.nn.dot_product_attention(query, key, value).reshape(b, h, w, channels)
        return written((x + project("out", attended, self.init_scale)) * jnp.asarray(self.skip_scale, x.dtype))
