"""RefineNets, the networks of NCSN and NCSNv2: an encoder of dilated residual blocks, refined from coarse to fine.

References:
    Lin et al., "RefineNet: Multi-Path Refinement Networks for High-Resolution Semantic Segmentation", 2017.
    Song and Ermon, "Generative Modeling by Estimating Gradients of the Data Distribution", 2019, appendix A.
    Song and Ermon, "Improved Techniques for Training Score-Based Generative Models", 2020, appendix B.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num
from numpy.typing import NDArray

from sgm_jax.naming import choose, construct
from sgm_jax.networks.normalisation import InstanceNormPlus, Levels
from sgm_jax.networks.resampling import downsample
from sgm_jax.shapes import check_images

POOLINGS = {"average": nn.avg_pool, "max": nn.max_pool}
REMATS = {"none": lambda block: block, "block": nn.remat}

Images = Float[Array, "b h w c"]


class RefineNet(nn.Module):
    """Map the index of a noise level and noisy images to images, of any height and width.

    Each stage is two residual blocks; a stage after the first halves the resolution if its dilation is 1 and keeps it
    otherwise. Sizes that do not halve evenly are filled at the edge. `ncsn`, `ncsnv2`, `ncsnv2_deeper` and
    `ncsnv2_deepest` are the published networks.

    Attributes:
        channels: channels in units of which `multipliers` count, at least 2.
        multipliers: channels of each stage in units of `channels`.
        dilations: dilation of each stage's convolutions.
        norm_levels: number of noise levels with normalisation parameters of their own, in the refinement too (NCSN);
            0 shares them among all levels and leaves the refinement without normalisation (NCSNv2).
        pool: of the chained pooling, a name in `POOLINGS`.
        sigmas: the noise levels, by which the output is divided (NCSNv2); None leaves the output as it is (NCSN).
        data_range: ends of the data's interval, which is mapped to [-1, 1].
        activation: the non-linearity.
        remat: "block" computes each block anew for its gradient instead of storing its inside; "none" stores all.
        dtype: type to compute in; parameters and normalisation are float32.
    """

    channels: int = 128
    multipliers: tuple[int, ...] = (1, 2, 2, 2)
    dilations: tuple[int, ...] = (1, 1, 2, 4)
    norm_levels: int = 0
    pool: str = "max"
    sigmas: tuple[float, ...] | None = None
    data_range: tuple[float, float] = (0.0, 1.0)
    activation: Callable = nn.elu
    remat: str = "none"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        noise_label: Num[Array, " b"],
        x: Images,
        label: Num[Array, "b ..."] | None = None,
        augment: Num[Array, "b ..."] | None = None,
        *,
        deterministic: bool = True,
    ) -> Images:
        """Return the network's output, of the shape of `x`, in float32.

        Args:
            noise_label: [b] integers, the indices of noise levels, 0 that of the largest.
            x: images [b, h, w, c] of which the clean ones would lie in `data_range`.
            label: no class is taken.
            augment: no augmentation label is taken.
            deterministic: without effect, since there is no dropout.

        Raises:
            ValueError: if an option is not allowed, `x` holds no images, a label other than the noise's is given, or
                that is not an index.
        """
        self._check_options()
        check_images(x)
        for name, value in (("label", label), ("augment", augment)):
            if value is not None:
                raise ValueError(f"{name} must be None for a RefineNet, which knows noise levels only, got an array")
        if not jnp.issubdtype(noise_label.dtype, jnp.integer):
            raise ValueError(f"noise_label must hold integer indices of noise levels, got {noise_label.dtype}")
        remat = choose("remat", self.remat, REMATS)
        common = dict(levels=self.norm_levels, activation=self.activation, dtype=self.dtype)
        widths = [self.channels * multiplier for multiplier in self.multipliers]
        level = noise_label if self.norm_levels else None

        low, high = self.data_range
        h = ((2 * x - (low + high)) / (high - low)).astype(self.dtype)
        h = _conv(widths[0], self.dtype, "stem")(h)

        # -- encoder
        stages = []
        for i, (width, dilation) in enumerate(zip(widths, self.dilations, strict=True)):
            for j, new in enumerate((i > 0, False)):
                block = remat(ResidualBlock)(width, dilation, new, **common, name=f"stage_{i}_block_{j}")
                h = block(h, level)
            stages.append(h)

        # -- refinement
        inputs, last = [stages[-1]], len(stages) - 1
        for i in reversed(range(len(stages))):
            width = widths[-1] if i == last else widths[max(i - 1, 0)]
            units = 1 if i else 3
            h = remat(RefineBlock)(width, units, self.pool, **common, name=f"refine_{i}")(inputs, level)
            inputs = [stages[i - 1], h]

        h = InstanceNormPlus(self.norm_levels, dtype=self.dtype, name="head_norm")(h, level)
        h = _conv(x.shape[-1], self.dtype, "head")(self.activation(h)).astype(jnp.float32)
        if self.sigmas is not None:
            h = h / jnp.asarray(self.sigmas, jnp.float32)[noise_label][:, None, None, None]
        return h

    def _check_options(self) -> None:
        if self.channels < 2:
            raise ValueError(f"channels must be at least 2, got {self.channels}")
        for name in ("multipliers", "dilations"):
            if not getattr(self, name) or min(getattr(self, name)) < 1:
                raise ValueError(f"{name} must be one positive integer a stage, got {getattr(self, name)}")
        if len(self.multipliers) != len(self.dilations):
            raise ValueError(f"dilations must be {len(self.multipliers)}, as multipliers are, got {self.dilations}")
        if not self.data_range[0] < self.data_range[1]:
            raise ValueError(f"data_range must be (low, high) with low < high, got {self.data_range}")
        if self.sigmas is not None and not (self.sigmas and min(self.sigmas) > 0):
            raise ValueError(f"sigmas must be positive noise levels or None, got {self.sigmas}")
        choose("pool", self.pool, POOLINGS)


def ncsn(levels: int = 10, **options) -> RefineNet:
    """Return NCSN's network, with normalisation of its own for each of `levels` noise levels.

    Args:
        levels: number of noise levels.
        **options: other attributes of `RefineNet`.
    """
    return construct("network 'ncsn'", RefineNet, dict(norm_levels=levels, pool="average") | options)


def ncsnv2(sigma_begin: float = 50.0, sigma_end: float = 0.01, levels: int = 232, **options) -> RefineNet:
    """Return NCSNv2's network for images of up to 64 pixels; defaults those of its CIFAR-10 model.

    Args:
        sigma_begin: largest noise level, in units of `data_range`.
        sigma_end: smallest noise level.
        levels: number of noise levels, in geometric sequence.
        **options: other attributes of `RefineNet`.
    """
    sigmas = tuple(np.geomspace(sigma_begin, sigma_end, levels).tolist())
    return construct("network 'ncsnv2'", RefineNet, dict(sigmas=sigmas) | options)


def ncsnv2_deeper(sigma_begin: float = 190.0, sigma_end: float = 0.01, levels: int = 1086, **options) -> RefineNet:
    """Return NCSNv2's network for images of 128 pixels, of one stage more; arguments as of `ncsnv2`."""
    layout = dict(multipliers=(1, 2, 2, 4, 4), dilations=(1, 1, 1, 2, 4))
    return ncsnv2(sigma_begin, sigma_end, levels, **layout | options)


def ncsnv2_deepest(sigma_begin: float = 348.0, sigma_end: float = 0.01, levels: int = 2311, **options) -> RefineNet:
    """Return NCSNv2's network for images of 256 pixels, of two stages more; arguments as of `ncsnv2`."""
    layout = dict(multipliers=(1, 2, 2, 2, 4, 4), dilations=(1, 1, 1, 1, 2, 4))
    return ncsnv2(sigma_begin, sigma_end, levels, **layout | options)


class ResidualBlock(nn.Module):
    """Two convolutions around a skip connection: `skip(x) + conv(act(norm(conv(act(norm(x))))))`.

    Attributes:
        features: channels of the result.
        dilation: of the convolutions.
        new: whether the block begins a stage: it then has a convolution in its skip connection, and halves the
            resolution at the end if `dilation` is 1.
        levels: noise levels with normalisation of their own.
        activation: the non-linearity.
        dtype: type to compute in.
    """

    features: int
    dilation: int
    new: bool
    levels: int
    activation: Callable
    dtype: Any

    @nn.compact
    def __call__(self, x: Images, level: Levels) -> Float[Array, "b H W features"]:
        """Return the block's output for images `x` at noise levels `level` [b]."""
        conv = functools.partial(_conv, dtype=self.dtype, dilation=self.dilation)
        norm = functools.partial(InstanceNormPlus, self.levels, dtype=self.dtype)
        h = self.activation(norm(name="norm_0")(x, level))
        # The channels change with the second convolution.
        h = conv(x.shape[-1], name="conv_0")(h)
        h = self.activation(norm(name="norm_1")(h, level))
        h = conv(self.features, name="conv_1")(h)
        if not self.new:
            return x + h
        if self.dilation > 1:
            return conv(self.features, name="skip")(x) + h
        # Averaging commutes with a sum and with a convolution of one pixel.
        return _conv(self.features, self.dtype, "skip", size=1)(downsample(x)) + downsample(h)


class RefineBlock(nn.Module):
    """Fuse an encoder's stage with what is coarser: adapt, fuse, chained pooling, adapt.

    Attributes:
        features: channels of the result.
        units: residual units at the end.
        pool: of the chained pooling, a name in `POOLINGS`.
        levels: noise levels with normalisation of their own, 0 for no normalisation.
        activation: the non-linearity.
        dtype: type to compute in.
    """

    features: int
    units: int
    pool: str
    levels: int
    activation: Callable
    dtype: Any

    @nn.compact
    def __call__(self, inputs: Sequence[Float[Array, "b _ _ _"]], level: Levels) -> Float[Array, "b _ _ features"]:
        """Return the refined images, of the first input's height and width."""
        conv = functools.partial(_conv, self.features, self.dtype)
        shape = inputs[0].shape[1:3]

        def norm(h, name):
            return InstanceNormPlus(self.levels, dtype=self.dtype, name=name)(h, level) if self.levels else h

        def residual_units(h, count, name):
            for i in range(count):
                start = h
                for j in range(2):
                    h = self.activation(norm(h, f"{name}_norm_{2 * i + j}"))
                    h = _conv(h.shape[-1], self.dtype, f"{name}_conv_{2 * i + j}", use_bias=False)(h)
                h = h + start
            return h

        adapted = [residual_units(h, 2, f"adapt_{i}") for i, h in enumerate(inputs)]
        if len(adapted) > 1:
            adapted = [conv(f"fuse_conv_{i}")(norm(h, f"fuse_norm_{i}")) for i, h in enumerate(adapted)]
        h = path = self.activation(sum(resize(h, shape) for h in adapted))
        for i in range(2):
            path = pool(norm(path, f"pool_norm_{i}"), POOLINGS[self.pool])
            path = conv(f"pool_conv_{i}", use_bias=False)(path)
            h = h + path
        return residual_units(h, self.units, "out")


def pool(x: Images, reduce: Callable) -> Images:
    """Take the maximum or average over 5 x 5 windows one axis after the other, keeping height and width."""
    for window in ((5, 1), (1, 5)):
        x = reduce(x, window, strides=(1, 1), padding="SAME")
    return x


def resize(x: Images, shape: tuple[int, ...]) -> Float[Array, "b H W c"]:
    """Interpolate bilinearly to height and width `shape`, the corner pixels staying where they are."""
    if x.shape[1:3] == shape:
        return x
    matrices = [interpolation_matrix(old, new) for old, new in zip(x.shape[1:3], shape, strict=True)]
    rows, columns = (jnp.asarray(matrix, x.dtype) for matrix in matrices)
    return jnp.einsum("Hh,bhwc,Ww->bHWc", rows, x, columns)


def interpolation_matrix(old: int, new: int) -> NDArray:
    """Return the matrix [new, old] that interpolates linearly between `old` points, first and last kept."""
    position = np.linspace(0, old - 1, new)
    return np.maximum(0.0, 1.0 - np.abs(position[:, None] - np.arange(old)))


def _conv(features: int, dtype: Any, name: str, *, size: int = 3, dilation: int = 1, use_bias: bool = True) -> nn.Conv:
    """Return a convolution that keeps height and width, initialised as in PyTorch but for its bias, here zero."""
    return nn.Conv(
        features,
        (size, size),
        kernel_dilation=dilation,
        use_bias=use_bias,
        kernel_init=nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"),
        dtype=dtype,
        name=name,
    )
