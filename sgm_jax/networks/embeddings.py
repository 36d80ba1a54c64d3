"""Embeddings of what a network is conditioned on: the noise level, and a class where there is one."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from sgm_jax.naming import choose, unknown

EMBEDDINGS = ("positional", "fourier", "log_fourier")


def positional_embedding(
    noise_label: Num[Array, " b"],
    width: int,
    max_period: float = 1e4,
    freq_shift: int = 1,
    order: str = "sin_cos",
) -> Float[Array, "b width"]:
    """Embed numbers as sines and cosines at geometrically spaced frequencies.

    `[sin(w_k l), cos(w_k l)]` with `w_k = max_period^(-k / (width/2 - freq_shift))`.

    Args:
        noise_label: [b], meant to span hundreds (score_sde feeds `999 t`).
        width: length of the embedding, even and at least 4.
        max_period: ratio of the highest frequency to the lowest (of one beyond the lowest with `freq_shift` 0).
        freq_shift: 1 (score_sde, EDM's SongUNet) or 0 (ADM).
        order: "sin_cos", or "cos_sin" (ADM), what comes first.

    Raises:
        ValueError: if `width` is odd or below 4, or `order` unknown.

    References:
        Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models", 2020, appendix B.
    """
    if width < 4 or width % 2:
        raise ValueError(f"width must be an even number of at least 4, got {width}")
    half = width // 2
    frequencies = np.exp(-np.log(max_period) * np.arange(half) / (half - freq_shift)).astype(np.float32)
    angles = noise_label.astype(jnp.float32)[:, None] * frequencies
    parts = choose("order", order, {"sin_cos": (jnp.sin, jnp.cos), "cos_sin": (jnp.cos, jnp.sin)})
    return jnp.concatenate([part(angles) for part in parts], axis=-1)


class FourierEmbedding(nn.Module):
    """Embed numbers as sines and cosines at fixed random Gaussian frequencies: `2 pi w l`, `w ~ N(0, scale^2)`.

    The frequencies are drawn with the parameters, so that a checkpoint holds them, and never trained.

    References:
        Tancik et al., "Fourier Features Let Networks Learn High Frequency Functions", 2020, section 5.
    """

    width: int
    scale: float = 16.0

    @nn.compact
    def __call__(self, noise_label: Num[Array, " b"]) -> Float[Array, "b width"]:
        """Return the embedding of `noise_label` [b]."""
        frequencies = self.param("frequencies", nn.initializers.normal(self.scale), (self.width // 2,))
        angles = 2 * np.pi * noise_label.astype(jnp.float32)[:, None] * jax.lax.stop_gradient(frequencies)[None]
        return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


class ConditionEmbedding(nn.Module):
    """Embed a noise label, and class and augmentation labels where the network has them, into one vector an example.

    The sines and cosines of the noise label, plus a linear map of the augmentation labels, go through two dense
    layers. Classes join in one of three ways (`class_embedding`):

    - "learned_null": a learned vector a class, and one for "no label", is added to the result;
    - "adm": the same without a vector for "no label";
    - "song": `dense(sqrt(k) one_hot)` is added before the two layers.

    Attributes:
        base: width of the sines and cosines ("fourier" uses twice as many, as score_sde does), unless `noise_width`.
        width: length of the result.
        kind: "positional", "fourier" or "log_fourier" (of the label's logarithm).
        fourier_scale: standard deviation of the frequencies of "fourier" and "log_fourier".
        num_classes: number of classes, 0 for an unconditional network.
        dtype: type to compute in.
        class_embedding: "learned_null", "adm" or "song".
        augment_labels: how many augmentation labels there are, 0 for none.
        freq_shift: as in `positional_embedding`.
        order: as in `positional_embedding`.
        noise_width: width of the sines and cosines, where it is not the one that `base` implies.

    References:
        Song et al., "Score-Based Generative Modeling through SDEs", 2021, appendix H; Karras et al., "Elucidating
        the Design Space of Diffusion-Based Generative Models", 2022, appendix F.1; Dhariwal and Nichol, "Diffusion
        Models Beat GANs on Image Synthesis", 2021, section 3.
    """

    base: int
    width: int
    kind: str = "positional"
    fourier_scale: float = 16.0
    num_classes: int = 0
    dtype: Any = jnp.float32
    class_embedding: str = "learned_null"
    augment_labels: int = 0
    freq_shift: int = 1
    order: str = "sin_cos"
    noise_width: int | None = None

    @nn.compact
    def __call__(
        self,
        noise_label: Num[Array, " b"],
        label: Int[Array, " b"] | Float[Array, "b classes"] | None = None,
        augment: Float[Array, "b m"] | None = None,
    ) -> Float[Array, "b width"]:
        """Return one vector an example.

        Args:
            noise_label: [b], in whatever measure of noise the caller chose.
            label: integers [b] in `[0, num_classes]`, where `num_classes` is "no label", or weights of the classes
                [b, num_classes], where zeros are; None for "no label".
            augment: augmentation labels [b, augment_labels], or None for "not augmented", which zeros are too.

        Raises:
            ValueError: if `kind` or `class_embedding` is unknown, or labels are given that the network does not have.
        """
        if self.kind not in EMBEDDINGS:
            raise unknown("embedding", self.kind, EMBEDDINGS)
        if self.num_classes == 0 and label is not None:
            raise ValueError("label must be None for a network with num_classes=0, got an array")
        if self.augment_labels == 0 and augment is not None:
            raise ValueError("augment must be None for a network with augment_labels=0, got an array")
        width = self.noise_width or (self.base if self.kind == "positional" else 2 * self.base)
        if self.kind == "positional":
            embedded = positional_embedding(noise_label, width, freq_shift=self.freq_shift, order=self.order)
        else:
            measure = jnp.log(noise_label) if self.kind == "log_fourier" else noise_label
            embedded = FourierEmbedding(width, self.fourier_scale, name="fourier")(measure)

        def dense(name, features, use_bias=True):
            return nn.Dense(features, use_bias, kernel_init=scaled_init(), dtype=self.dtype, name=name)

        embedded = embedded.astype(self.dtype)
        before, after = self._embed_classes(label, len(noise_label), embedded.shape[-1], dense)
        embedded = embedded + before
        if self.augment_labels:
            if augment is None:
                augment = jnp.zeros((len(noise_label), self.augment_labels))
            embedded = embedded + dense("augment", embedded.shape[-1], use_bias=False)(augment)
        return dense("dense_1", self.width)(nn.swish(dense("dense_0", self.width)(embedded))) + after

    def _embed_classes(self, label, batch, noise_width, dense):
        """Return what the classes add to the sines and cosines, and what they add to the result."""
        if self.num_classes == 0:
            return 0.0, 0.0
        if label is None:
            label = jnp.zeros((batch, self.num_classes))
        elif jnp.issubdtype(label.dtype, jnp.integer):
            label = jax.nn.one_hot(label, self.num_classes)

        def song():
            return dense("classes", noise_width)(label * self.num_classes**0.5), 0.0

        def adm():
            return 0.0, dense("classes", self.width, use_bias=False)(label)

        def learned_null():
            table = nn.Embed(self.num_classes + 1, self.width, name="classes").embedding
            weights = jnp.concatenate([label, 1 - label.sum(axis=1, keepdims=True)], axis=1)
            return 0.0, (weights @ table).astype(self.dtype)

        return choose("class_embedding", self.class_embedding, dict(song=song, adm=adm, learned_null=learned_null))()


def scaled_init(scale: float = 1.0) -> nn.initializers.Initializer:
    """Return the initialiser of DDPM's layers: uniform, variance `scale / mean(fan in, fan out)`; zero at 0."""
    if scale == 0:
        return nn.initializers.zeros
    return nn.initializers.variance_scaling(scale, "fan_avg", "uniform")
