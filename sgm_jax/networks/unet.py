"""The U-Net of score-based models on images: DDPM++, any size, any number of channels."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sgm_jax.networks.blocks import (
    Attention,
    Conv,
    GroupNorm,
    ResidualBlock,
    depth_to_space,
    space_to_depth,
)
from sgm_jax.networks.embeddings import ConditionEmbedding


class UNet(nn.Module):
    """Map a noise label and noisy images to images: the DDPM++ network, defaults those of its CIFAR-10 model.

    A level is a run of residual blocks at one resolution; going down, every block's output is kept and joined
    to its mirror image going up. Sizes that do not halve evenly are filled at the edge and cropped again.

    Attributes:
        channels: channels of the first level.
        multipliers: channels of each level in units of `channels`; one level an entry.
        blocks: residual blocks a level (one more going up).
        attention: heights of the feature maps (after `patch`) that get attention; the middle always has it.
        heads: attention heads.
        dropout: probability inside the residual blocks, in training.
        skip_scale: factor on the sum at every skip connection.
        embedding: of the noise label, "positional" (labels spanning hundreds) or "fourier" (labels of order 1).
        label_scale: factor on the noise label before it is embedded.
        fourier_scale: standard deviation of the frequencies of "fourier".
        num_classes: number of classes, 0 for an unconditional network.
        patch: side of the patches that enter as one pixel, 1 for none.
        init_scale: scale of the initial weights of the output and of each block's last layer.
        dtype: type to compute in; parameters are float32.

    References:
        Song et al., "Score-Based Generative Modeling through SDEs", 2021, appendix H.
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

    @nn.compact
    def __call__(
        self,
        noise_label: Float[Array, " b"],
        x: Float[Array, "b h w c"],
        label: Int[Array, " b"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "b h w c"]:
        """Return the network's output, of the shape of `x`, zero at initialisation, in float32.

        Args:
            noise_label: [b], the measure of noise that `embedding` expects.
            x: images [b, h, w, c], of about unit variance.
            label: [b] classes in `[0, num_classes)`, `num_classes` or None for "no label".
            deterministic: False applies dropout, with flax's "dropout" key.

        Raises:
            ValueError: if `blocks`, `patch` or `multipliers` is empty or not positive, `embedding` is unknown,
                or a label is given to an unconditional network.
        """
        for name in ("blocks", "patch", "channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.multipliers or min(self.multipliers) < 1:
            raise ValueError(f"multipliers must be one positive integer a level, got {self.multipliers}")
        embedding = ConditionEmbedding(
            self.channels,
            4 * self.channels,
            self.embedding,
            self.fourier_scale,
            self.num_classes,
            self.dtype,
            name="embedding",
        )(self.label_scale * noise_label, label)

        def residual(h, features, name, resample="none"):
            block = ResidualBlock(
                features, resample, self.dropout, self.skip_scale, self.init_scale, self.dtype, name=name
            )
            return block(h, embedding, deterministic)

        def attend(h, name):
            return Attention(self.heads, self.skip_scale, self.init_scale, self.dtype, name=name)(h)

        widths = [self.channels * multiplier for multiplier in self.multipliers]
        last = len(widths) - 1

        # -- down
        h = space_to_depth(x.astype(self.dtype), self.patch)
        h = Conv(self.channels, dtype=self.dtype, name="stem")(h)
        skips = [h]
        for level, width in enumerate(widths):
            for i in range(self.blocks):
                h = residual(h, width, f"down_{level}_block_{i}")
                if h.shape[1] in self.attention:
                    h = attend(h, f"down_{level}_attention_{i}")
                skips.append(h)
            if level != last:
                h = residual(h, width, f"down_{level}_resample", "down")
                skips.append(h)

        # -- middle
        h = residual(h, widths[-1], "middle_block_0")
        h = attend(h, "middle_attention")
        h = residual(h, widths[-1], "middle_block_1")

        # -- up
        for level, width in reversed(list(enumerate(widths))):
            for i in range(self.blocks + 1):
                h = residual(jnp.concatenate([h, skips.pop()], axis=-1), width, f"up_{level}_block_{i}")
            if h.shape[1] in self.attention:
                h = attend(h, f"up_{level}_attention")
            if level:
                h = residual(h, width, f"up_{level}_resample", "up")
                h = h[:, : skips[-1].shape[1], : skips[-1].shape[2]]

        h = nn.swish(GroupNorm(dtype=self.dtype, name="head_norm")(h))
        features = x.shape[-1] * self.patch**2
        h = Conv(features, init_scale=self.init_scale, dtype=self.dtype, name="head")(h)
        return depth_to_space(h, self.patch)[:, : x.shape[1], : x.shape[2]].astype(jnp.float32)
