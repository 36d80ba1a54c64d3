"""The network of variational diffusion models: a U-Net that keeps its resolution and sees fine detail."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sgm_jax.naming import choose
from sgm_jax.networks.blocks import Attention, Conv, GroupNorm, ResidualBlock
from sgm_jax.networks.embeddings import ConditionEmbedding
from sgm_jax.shapes import check_images

ATTENTION = ("middle", "every")


def fourier_features(x: Float[Array, "b h w c"], exponents: tuple[int, ...]) -> Float[Array, "b h w features"]:
    """Return `sin(2 pi 2^n x)` and then `cos(2 pi 2^n x)` of every channel, `2 c len(exponents)` in all.

    They tell apart values that differ by little, on which the likelihood of discrete data hangs.

    References:
        Kingma et al., "Variational Diffusion Models", 2021, section 4.3 and appendix C.
    """
    frequencies = 2 * np.pi * 2.0 ** np.asarray(exponents, np.float32)
    angles = (x.astype(jnp.float32)[..., None] * frequencies).reshape(*x.shape[:-1], -1)
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


class VDMUNet(nn.Module):
    """Map a noise label and noisy images to images: the VDM network, defaults those of its CIFAR-10 model.

    Residual blocks at full resolution, each joined to its mirror image in the second half; the result is added to `x`,
    since most of a very noisy image is the noise that is to be predicted.

    Attributes:
        channels: channels of every block.
        layers: residual blocks in the first half (one more in the second, two between them).
        attention: "middle" has it between the halves only, "every" after every block too.
        heads: attention heads.
        dropout: probability inside the residual blocks, in training.
        fourier: exponents of the Fourier features of the input; empty for none.
        gamma_min: noise label, `gamma = -log SNR`, at the least noise, which is embedded as 0.
        gamma_max: noise label at the most noise, which is embedded as 1000.
        num_classes: number of classes, 0 for an unconditional network.
        augment_labels: number of augmentation labels, 0 for none.
        remat: "block" computes each residual block again in the backward pass instead of storing what is inside,
            "none" stores.
        dtype: type to compute in; parameters are float32.

    References:
        Kingma et al., "Variational Diffusion Models", 2021, appendix B.
    """

    channels: int = 128
    layers: int = 32
    attention: str = "middle"
    heads: int = 1
    dropout: float = 0.1
    fourier: tuple[int, ...] = (6, 7)
    gamma_min: float = -13.3
    gamma_max: float = 5.0
    num_classes: int = 0
    augment_labels: int = 0
    remat: str = "none"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        noise_label: Float[Array, " b"],
        x: Float[Array, "b h w c"],
        label: Int[Array, " b"] | Float[Array, "b classes"] | None = None,
        augment: Float[Array, "b m"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "b h w c"]:
        """Return the network's output, of the shape of `x`, equal to `x` at initialisation, in float32.

        Args:
            noise_label: [b], meant to lie in `[gamma_min, gamma_max]`.
            x: images [b, h, w, c], of about unit variance.
            label: classes [b] in `[0, num_classes)`, with `num_classes` or None for "no label"; or weights of the
                classes [b, num_classes].
            augment: augmentation labels [b, augment_labels], or None for "not augmented".
            deterministic: False applies dropout, with flax's "dropout" key.

        Raises:
            ValueError: if `channels` or `layers` is not positive, `gamma_min` not below `gamma_max`, `attention` or
                `remat` unknown, `x` holds no images, or labels are given that the network does not have.
        """
        for name in ("channels", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.gamma_min < self.gamma_max:
            raise ValueError(f"gamma_min must be below gamma_max={self.gamma_max}, got {self.gamma_min}")
        check_images(x)
        choose("attention", self.attention, dict.fromkeys(ATTENTION))
        block = choose(
            "remat", self.remat, {"none": ResidualBlock, "block": nn.remat(ResidualBlock, static_argnums=(3,))}
        )
        level = (noise_label - self.gamma_min) / (self.gamma_max - self.gamma_min)
        condition = ConditionEmbedding(
            self.channels,
            4 * self.channels,
            num_classes=self.num_classes,
            dtype=self.dtype,
            augment_labels=self.augment_labels,
            name="embedding",
        )(1000 * level, label, augment)

        def residual(h, name):
            layer = block(self.channels, dropout=self.dropout, skip_scale=1.0, dtype=self.dtype, name=name)
            return layer(h, condition, deterministic)

        def attend(h, name):
            return Attention(self.heads, skip_scale=1.0, dtype=self.dtype, name=name)(h)

        def attended(h, name):
            return attend(h, name) if self.attention == "every" else h

        h = jnp.concatenate([x, fourier_features(x, self.fourier)], axis=-1)
        h = Conv(self.channels, dtype=self.dtype, name="stem")(h)
        skips = [h]
        for i in range(self.layers):
            h = attended(residual(h, f"down_0_block_{i}"), f"down_0_attention_{i}")
            skips.append(h)
        h = residual(h, "middle_block_0")
        h = attend(h, "middle_attention")
        h = residual(h, "middle_block_1")
        for i in range(self.layers + 1):
            h = residual(jnp.concatenate([h, skips.pop()], axis=-1), f"up_0_block_{i}")
            h = attended(h, f"up_0_attention_{i}")
        h = nn.swish(GroupNorm(dtype=self.dtype, name="head_norm")(h))
        h = Conv(x.shape[-1], init_scale=0.0, dtype=self.dtype, name="head")(h)
        return x.astype(jnp.float32) + h.astype(jnp.float32)
