"""Embeddings of what a network is conditioned on: the noise level, and a class where there is one."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

EMBEDDINGS = ("positional", "fourier")


def positional_embedding(
    noise_label: Float[Array, " b"], width: int, max_period: float = 1e4
) -> Float[Array, "b width"]:
    """Embed numbers as sines and cosines at geometrically spaced frequencies.

    `[sin(w_k l), cos(w_k l)]` with `w_k = max_period^(-k / (width/2 - 1))`.

    Args:
        noise_label: [b], meant to span hundreds (score_sde feeds `999 t`).
        width: length of the embedding, even and at least 4.
        max_period: ratio of the highest frequency to the lowest.

    Raises:
        ValueError: if `width` is odd or below 4.

    References:
        Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models", 2020, appendix B.
    """
    if width < 4 or width % 2:
        raise ValueError(f"width must be an even number of at least 4, got {width}")
    half = width // 2
    frequencies = np.exp(-np.log(max_period) * np.arange(half) / (half - 1)).astype(np.float32)
    angles = noise_label.astype(jnp.float32)[:, None] * frequencies
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


class FourierEmbedding(nn.Module):
    """Embed numbers as sines and cosines at fixed random Gaussian frequencies: `2 pi w l`, `w ~ N(0, scale^2)`.

    The frequencies are drawn with the parameters, so that a checkpoint holds them, and never trained.

    References:
        Tancik et al., "Fourier Features Let Networks Learn High Frequency Functions", 2020, section 5.
    """

    width: int
    scale: float = 16.0

    @nn.compact
    def __call__(self, noise_label: Float[Array, " b"]) -> Float[Array, "b width"]:
        """Return the embedding of `noise_label` [b] (for score_sde's networks the logarithm of sigma)."""
        frequencies = self.param("frequencies", nn.initializers.normal(self.scale), (self.width // 2,))
        angles = 2 * np.pi * noise_label.astype(jnp.float32)[:, None] * jax.lax.stop_gradient(frequencies)[None]
        return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


class ConditionEmbedding(nn.Module):
    """Embed a noise label, and a class label where the network has classes, into one vector an example.

    The noise embedding goes through two dense layers; a class adds a learned vector to the result. Class
    `num_classes` stands for "no label", as classifier-free guidance needs it.

    Attributes:
        base: width of the sines and cosines ("fourier" uses twice as many, as score_sde does).
        width: length of the result.
        kind: "positional" or "fourier".
        fourier_scale: standard deviation of the frequencies of "fourier".
        num_classes: number of classes, 0 for an unconditional network.
        dtype: type to compute in.
    """

    base: int
    width: int
    kind: str = "positional"
    fourier_scale: float = 16.0
    num_classes: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, noise_label: Float[Array, " b"], label: Int[Array, " b"] | None = None
    ) -> Float[Array, "b width"]:
        """Return one vector an example.

        Args:
            noise_label: [b], in whatever measure of noise the caller chose.
            label: [b] integers in `[0, num_classes]`, or None for "no label".

        Raises:
            ValueError: if `kind` is unknown, or a label is given to an unconditional network.
        """
        if self.kind not in EMBEDDINGS:
            raise ValueError(f"embedding must be one of {', '.join(EMBEDDINGS)}, got {self.kind!r}")
        if self.num_classes == 0 and label is not None:
            raise ValueError("label must be None for a network with num_classes=0, got an array")
        if self.kind == "positional":
            embedded = positional_embedding(noise_label, self.base)
        else:
            embedded = FourierEmbedding(2 * self.base, self.fourier_scale)(noise_label)
        dense = lambda name: nn.Dense(self.width, kernel_init=scaled_init(), dtype=self.dtype, name=name)  # noqa: E731
        embedded = dense("dense_1")(nn.swish(dense("dense_0")(embedded.astype(self.dtype))))
        if self.num_classes:
            if label is None:
                label = jnp.full(noise_label.shape, self.num_classes)
            embedded = embedded + nn.Embed(self.num_classes + 1, self.width, dtype=self.dtype, name="classes")(label)
        return embedded


def scaled_init(scale: float = 1.0) -> nn.initializers.Initializer:
    """Return the initialiser of DDPM's layers: uniform, variance `scale / mean(fan in, fan out)`; zero at 0."""
    if scale == 0:
        return nn.initializers.zeros
    return nn.initializers.variance_scaling(scale, "fan_avg", "uniform")
