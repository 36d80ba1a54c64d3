"""The U-Net of score-based models on images: any size, any number of channels, all the published variants."""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from sgm_jax.naming import unknown
from sgm_jax.networks.blocks import Attention, Conv, GroupNorm, ResidualBlock
from sgm_jax.networks.embeddings import EMBEDDINGS, ConditionEmbedding
from sgm_jax.networks.resampling import BOX, before_strided, depth_to_space, downsample, space_to_depth, upsample
from sgm_jax.shapes import check_images

CHOICES = {
    "embedding": (*EMBEDDINGS, "none"),
    "resampling": ("biggan", "conv", "filter"),
    "progressive_input": ("none", "input_skip", "residual"),
    "progressive_output": ("none", "output_skip", "residual"),
    "progressive_combine": ("sum", "cat"),
    "up_attention": ("level", "block"),
    "remat": ("none", "block"),
}


class UNet(nn.Module):
    """Map a noise label and noisy images to images; the defaults are those of the DDPM++ network for CIFAR-10.

    A level is a run of residual blocks at one resolution; going down, every block's output is kept and joined
    to its mirror image going up. Sizes that do not halve evenly are filled at the edge and cropped again.

    The published networks are choices of the options, beside those of size (the converters of `sgm_jax.convert`
    make them from a checkpoint's own configuration):

    - DDPM++: the defaults. EDM's: `class_embedding="song"`, `augment_labels=9`.
    - NCSN++: `resample_filter=(1, 3, 3, 1)`, `progressive_input="residual"` (`"input_skip"` with
      `progressive_output="output_skip"` for large images), `embedding="log_fourier"`, `output_divisor="label"`,
      `data_range=(0.0, 1.0)`. EDM's has `embedding="fourier"` and neither of the last two.
    - DDPM: `resampling="conv"`, `skip_scale=1.0`, `group_size=1`, `blocks=2`.
    - ADM: `conditioning="scale_shift"`, `skip_projection="channels"`, `skip_scale=1.0`, `head_channels=64`,
      `up_attention="block"`, `epsilon=1e-5`, `freq_shift=0`, `embedding_order="cos_sin"`, `class_embedding="adm"`.
    - diffusers' UNet2DModel: DDPM with `up_attention="block"`, `head_channels`, `freq_shift`, `embedding_order`
      and `down_padding` as its configuration says.

    Attributes:
        channels: channels of the first level.
        multipliers: channels of each level in units of `channels`; one level an entry.
        blocks: residual blocks a level (one more going up).
        attention: heights of the feature maps (after `patch`) that get attention; the middle always has it.
        heads: attention heads.
        dropout: probability inside the residual blocks, in training.
        skip_scale: factor on the sum at every skip connection.
        embedding: of the noise label, "positional" (labels spanning hundreds), "fourier" (labels of order 1),
            "log_fourier" (labels that are noise levels) or "none" (a network that is not told of the noise).
        label_scale: factor on the noise label before it is embedded.
        fourier_scale: standard deviation of the frequencies of the Fourier embeddings.
        num_classes: number of classes, 0 for an unconditional network.
        patch: side of the patches that enter as one pixel, 1 for none.
        init_scale: scale of the initial weights of the output and of each block's last layer.
        dtype: type to compute in; parameters, normalisation and the output are float32.
        head_channels: channels an attention head, in place of `heads`.
        up_attention: going up, attention once a "level", after its last block, or after every "block".
        resampling: between levels a residual block that resamples inside ("biggan"), a strided convolution down and
            a convolution up ("conv"), or no layer at all ("filter").
        resample_filter: taps of the filter that resamples, `(1, 1)` to average and repeat pixels.
        down_padding: zeros before and after each axis in a strided convolution without a filter.
        progressive_input: what else a level gets of the image: nothing ("none"), the resampled image through a
            1 x 1 convolution ("input_skip"), or a pyramid of strided convolutions, each level's added to ("residual").
        progressive_output: what makes the output: the last level ("none"), the sum of every level's output, resampled
            ("output_skip"), or the last level with a pyramid of convolutions added going up ("residual").
        progressive_combine: how "input_skip" joins, by "sum" or along the channels ("cat").
        conditioning: how a block is told of the noise: "shift" or "scale_shift", see `ResidualBlock`.
        skip_projection: where a block's skip has a convolution: "resampled" or "channels", see `ResidualBlock`.
        groups: groups of the normalisation at most.
        group_size: channels a group at least.
        epsilon: added to the normalisation's variance.
        class_embedding: "learned_null", "adm" or "song", see `ConditionEmbedding`.
        augment_labels: number of augmentation labels, 0 for none.
        channel_mult_noise: width of the label's sines and cosines in units of `channels`; None is 1 for "positional"
            and 2 for the Fourier embeddings.
        channel_mult_emb: width of the embedding in units of `channels`.
        freq_shift: 1 or 0, see `positional_embedding`.
        embedding_order: "sin_cos" or "cos_sin", see `positional_embedding`.
        output_divisor: the output is divided by nothing ("none"), the noise label ("label"), or, where labels count
            noise levels, by the one of `count` levels from `first` to `last`, a geometric series
            (`(first, last, count)`).
        data_range: values of black and white in `x`; they become -1 and 1.
        out_channels: channels of the output; None is as many as `x` has.
        remat: "block" keeps only the blocks' inputs for the gradient and computes the rest anew; "none" keeps all.

    References:
        Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models", 2020, appendix B.
        Song et al., "Score-Based Generative Modeling through SDEs", 2021, appendix H.
        Dhariwal, Nichol, "Diffusion Models Beat GANs on Image Synthesis", 2021, section 3.
        Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", 2022, appendix F.1.
    """

    channels: int = 128
    multipliers: tuple[int, ...] = (1, 2, 2, 2)
    blocks: int = 4
    attention: tuple[int, ...] = (16,)
    heads: int = 1
    dropout: float = 0.1
    skip_scale: float = 2**-0.5
    embedding: str = "positional"
    label_scale: float = 1.0
    fourier_scale: float = 16.0
    num_classes: int = 0
    patch: int = 1
    init_scale: float = 0.0
    dtype: Any = jnp.float32
    head_channels: int | None = None
    up_attention: str = "level"
    resampling: str = "biggan"
    resample_filter: tuple[int, ...] = BOX
    down_padding: tuple[int, int] = (0, 1)
    progressive_input: str = "none"
    progressive_output: str = "none"
    progressive_combine: str = "sum"
    conditioning: str = "shift"
    skip_projection: str = "resampled"
    groups: int = 32
    group_size: int = 4
    epsilon: float = 1e-6
    class_embedding: str = "learned_null"
    augment_labels: int = 0
    channel_mult_noise: int | None = None
    channel_mult_emb: int = 4
    freq_shift: int = 1
    embedding_order: str = "sin_cos"
    output_divisor: str | tuple[float, float, int] = "none"
    data_range: tuple[float, float] = (-1.0, 1.0)
    out_channels: int | None = None
    remat: str = "none"

    @nn.compact
    def __call__(
        self,
        noise_label: Num[Array, " b"],
        x: Float[Array, "b h w c"],
        label: Int[Array, " b"] | Float[Array, "b classes"] | None = None,
        augment: Float[Array, "b m"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "b h w out"]:
        """Return the network's output, of the size of `x`, zero at initialisation, in float32.

        Args:
            noise_label: [b], the measure of noise that `embedding` expects.
            x: images [b, h, w, c], of about unit variance.
            label: classes [b] in `[0, num_classes)`, or weights of them [b, num_classes]; `num_classes`, zeros or
                None for "no label".
            augment: augmentation labels [b, augment_labels]; None for an image that is not augmented.
            deterministic: False applies dropout, with flax's "dropout" key.

        Raises:
            ValueError: if an option has a value that is not allowed, `x` holds no images, or a label is given that
                the network does not have.
        """
        self._check()
        check_images(x)
        embedding = self._embed(noise_label, label, augment)
        checkpointed = {"none": lambda layer, **_: layer, "block": nn.remat}[self.remat]
        norm = functools.partial(GroupNorm, epsilon=self.epsilon, groups=self.groups, group_size=self.group_size)
        shared = dict(skip_scale=self.skip_scale, init_scale=self.init_scale, dtype=self.dtype, norm=norm)
        conv = functools.partial(Conv, dtype=self.dtype)

        def residual(h, features, name, resample="none"):
            options = dict(resample_filter=self.resample_filter, conditioning=self.conditioning)
            options |= dict(skip_projection=self.skip_projection, dropout=self.dropout, name=name)
            block = checkpointed(ResidualBlock, static_argnums=(3,))(features, resample, **options, **shared)
            return block(h, embedding, deterministic)

        def attend(h, name):
            return checkpointed(Attention)(self.heads, head_channels=self.head_channels, name=name, **shared)(h)

        def strided(h, features, name):
            return conv(features, stride=2, name=name)(before_strided(h, self.resample_filter, self.down_padding))

        def resample(h, features, name, way):
            if self.resampling == "biggan":
                return residual(h, features, name, way)
            if self.resampling == "filter":
                return {"down": downsample, "up": upsample}[way](h, self.resample_filter)
            if way == "down":
                return strided(h, features, name)
            return conv(features, name=name)(upsample(h, self.resample_filter))

        def last_layer(h, features, name):
            h = nn.swish(norm(dtype=self.dtype, name=f"{name}_norm")(h))
            return conv(features, init_scale=self.init_scale, name=name)(h)

        def add(h, other):
            return (h + other) * jnp.asarray(self.skip_scale, h.dtype)

        widths = [self.channels * multiplier for multiplier in self.multipliers]
        last = len(widths) - 1
        low, high = self.data_range
        image = ((2 * x - (low + high)) / (high - low)).astype(self.dtype)
        image = space_to_depth(image, self.patch)
        out_features = (self.out_channels or x.shape[-1]) * self.patch**2

        # -- down
        h = conv(self.channels, name="stem")(image)
        skips, pyramid = [h], image
        for level, width in enumerate(widths):
            for i in range(self.blocks):
                h = residual(h, width, f"down_{level}_block_{i}")
                if h.shape[1] in self.attention:
                    h = attend(h, f"down_{level}_attention_{i}")
                skips.append(h)
            if level != last:
                h = resample(h, width, f"down_{level}_resample", "down")
                if self.progressive_input == "input_skip":
                    pyramid = downsample(pyramid, self.resample_filter)
                    joined = conv(width, size=1, name=f"down_{level}_input")(pyramid)
                    concatenated = self.progressive_combine == "cat"
                    h = jnp.concatenate([joined, h], axis=-1) if concatenated else joined + h
                elif self.progressive_input == "residual":
                    h = pyramid = add(strided(pyramid, width, f"down_{level}_input"), h)
                skips.append(h)

        # -- middle
        h = residual(h, h.shape[-1], "middle_block_0")
        h = attend(h, "middle_attention")
        h = residual(h, h.shape[-1], "middle_block_1")

        # -- up
        for level, width in reversed(list(enumerate(widths))):
            for i in range(self.blocks + 1):
                h = residual(jnp.concatenate([h, skips.pop()], axis=-1), width, f"up_{level}_block_{i}")
                if h.shape[1] in self.attention and self.up_attention == "block":
                    h = attend(h, f"up_{level}_attention_{i}")
            if h.shape[1] in self.attention and self.up_attention == "level":
                h = attend(h, f"up_{level}_attention")
            name, size = f"up_{level}_output", h.shape[1:3]
            if self.progressive_output == "output_skip":
                output = last_layer(h, out_features, name)
                pyramid = output if level == last else crop(upsample(pyramid, self.resample_filter), size) + output
            elif self.progressive_output == "residual" and level == last:
                pyramid = last_layer(h, width, name)
            elif self.progressive_output == "residual":
                h = pyramid = add(conv(width, name=name)(crop(upsample(pyramid, self.resample_filter), size)), h)
            if level:
                h = crop(resample(h, width, f"up_{level}_resample", "up"), skips[-1].shape[1:3])

        h = pyramid if self.progressive_output == "output_skip" else last_layer(h, out_features, "head")
        output = crop(depth_to_space(h, self.patch), x.shape[1:3]).astype(jnp.float32)
        return output / self._divisor(noise_label)

    def _embed(self, noise_label, label, augment):
        if self.embedding == "none" and label is None and augment is None:
            return None
        return ConditionEmbedding(
            self.channels,
            self.channel_mult_emb * self.channels,
            self.embedding,
            self.fourier_scale,
            self.num_classes,
            self.dtype,
            self.class_embedding,
            self.augment_labels,
            self.freq_shift,
            self.embedding_order,
            self.channel_mult_noise and self.channel_mult_noise * self.channels,
            name="embedding",
        )(self.label_scale * noise_label, label, augment)

    def _check(self) -> None:
        for name in ("blocks", "patch", "channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.multipliers or min(self.multipliers) < 1:
            raise ValueError(f"multipliers must be one positive integer a level, got {self.multipliers}")
        if not self.data_range[0] < self.data_range[1]:
            raise ValueError(f"data_range must be two increasing numbers, got {self.data_range}")
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise unknown(name, getattr(self, name), allowed)
        if self.embedding == "none" and (self.num_classes or self.augment_labels):
            raise ValueError("embedding must not be 'none' for a network with num_classes or augment_labels")

    def _divisor(self, noise_label):
        if self.output_divisor == "none":
            return 1.0
        if self.output_divisor == "label":
            return noise_label.astype(jnp.float32)[:, None, None, None]
        if isinstance(self.output_divisor, str):
            raise unknown("output_divisor", self.output_divisor, ("none", "label", "(first, last, count)"))
        first, last, count = self.output_divisor
        return first * (last / first) ** (noise_label.astype(jnp.float32)[:, None, None, None] / (count - 1))


def crop(h: Float[Array, "b h w c"], size: tuple[int, ...]) -> Float[Array, "b H W c"]:
    """Keep the first rows and columns."""
    return h[:, : size[0], : size[1]]
