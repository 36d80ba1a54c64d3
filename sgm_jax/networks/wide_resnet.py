"""A classifier of noisy images: a wide residual network that is told the noise level."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgm_jax.networks.blocks import Conv, GroupNorm, ResidualBlock
from sgm_jax.networks.embeddings import ConditionEmbedding, scaled_init
from sgm_jax.shapes import check_images

STEM = 16
GROUPS = (1, 2, 4)  # channels of the three groups, in units of `STEM * width`


class WideResNet(nn.Module):
    """Map a noise label and noisy images to the logits of classes; the defaults are WRN-28-10.

    Three groups of residual blocks, each group at half the resolution and twice the channels of the one before, with
    the embedded noise label added inside every block. Normalisation is over groups of channels, as in the
    noise-conditional classifier of Song et al.: no statistics of a batch, so that the network is a pure function.
    It halves by averaging where the original convolves with stride 2, and takes its input as it is, where theirs
    standardises every image (and thereby forgets its brightness and contrast).

    Attributes:
        classes: number of classes.
        blocks: residual blocks a group; the depth in the literature's count is `6 blocks + 4`.
        width: factor on the channels (16, 32, 64) of the groups.
        embedding: of the noise label, "fourier" (labels of order 1) or "positional" (labels spanning hundreds).
        fourier_scale: standard deviation of the frequencies of "fourier".
        dropout: probability inside the residual blocks, in training.
        dtype: type to compute in; parameters are float32.

    References:
        Zagoruyko and Komodakis, "Wide Residual Networks", 2016, table 1.
        Song et al., "Score-Based Generative Modeling through SDEs", 2021, appendix I.1.
    """

    classes: int
    blocks: int = 4
    width: int = 10
    embedding: str = "fourier"
    fourier_scale: float = 16.0
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, noise_label: Float[Array, " b"], x: Float[Array, "b h w c"], *, deterministic: bool = True
    ) -> Float[Array, "b classes"]:
        """Return the logits in float32.

        Args:
            noise_label: [b], the measure of noise that `embedding` expects; the logarithm of sigma in the literature.
            x: images [b, h, w, c], of about unit variance at every noise level.
            deterministic: False applies dropout, with flax's "dropout" key.

        Raises:
            ValueError: if `classes`, `blocks` or `width` is not positive, `embedding` unknown, or `x` holds no images.
        """
        for name in ("classes", "blocks", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        check_images(x)
        condition = ConditionEmbedding(64, 512, self.embedding, self.fourier_scale, dtype=self.dtype, name="embedding")(
            noise_label
        )
        h = Conv(STEM, dtype=self.dtype, name="stem")(x)
        for level, factor in enumerate(GROUPS):
            for i in range(self.blocks):
                resample = "down" if level and i == 0 else "none"
                h = ResidualBlock(
                    STEM * self.width * factor,
                    resample,
                    self.dropout,
                    skip_scale=1.0,
                    dtype=self.dtype,
                    name=f"down_{level}_block_{i}",
                )(h, condition, deterministic)
        h = nn.swish(GroupNorm(dtype=self.dtype, name="head_norm")(h)).mean(axis=(1, 2))
        return nn.Dense(self.classes, kernel_init=scaled_init(), name="head")(h.astype(jnp.float32))
