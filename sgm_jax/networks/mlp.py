"""A residual multilayer perceptron for data of few dimensions."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from sgm_jax.networks.dropout import Dropout
from sgm_jax.networks.embeddings import ConditionEmbedding, scaled_init


class MLP(nn.Module):
    """Map a noise label and noisy vectors to vectors.

    Attributes:
        width: width of every hidden layer.
        layers: number of residual layers.
        embedding: of the noise label, "positional" (labels spanning hundreds) or "fourier" (labels of order 1).
        fourier_scale: standard deviation of the frequencies of "fourier".
        num_classes: number of classes, 0 for an unconditional network.
        dropout: probability inside the layers, in training.
        init_scale: scale of the initial weights of the output; 0 makes the network start at zero.
        dtype: type to compute in; parameters are float32.
    """

    width: int = 128
    layers: int = 3
    embedding: str = "fourier"
    fourier_scale: float = 1.0
    num_classes: int = 0
    dropout: float = 0.0
    init_scale: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        noise_label: Num[Array, " b"],
        x: Float[Array, "b d"],
        label: Int[Array, " b"] | Float[Array, "b classes"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "b d"]:
        """Return the network's output, of the shape of `x`, in float32.

        Args:
            noise_label: [b], the measure of noise that `embedding` expects.
            x: vectors [b, d], of about unit variance.
            label: classes [b] in `[0, num_classes)`, or weights of them [b, num_classes]; `num_classes`, zeros or
                None for "no label".
            deterministic: False applies dropout, with flax's "dropout" key.

        Raises:
            ValueError: if `layers` or `width` is not positive, `embedding` is unknown, or a label is given to
                an unconditional network.
        """
        for name in ("layers", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        embedding = ConditionEmbedding(
            self.width,
            self.width,
            self.embedding,
            self.fourier_scale,
            self.num_classes,
            self.dtype,
            name="embedding",
        )(noise_label, label)

        def dense(features, name, scale=1.0):
            return nn.Dense(features, kernel_init=scaled_init(scale), dtype=self.dtype, name=name)

        h = dense(self.width, "stem")(x.astype(self.dtype))
        for i in range(self.layers):
            inner = nn.swish(
                dense(self.width, f"layer_{i}_in")(h) + dense(self.width, f"layer_{i}_condition")(embedding)
            )
            inner = Dropout(self.dropout)(inner, deterministic)
            h = h + dense(self.width, f"layer_{i}_out")(inner)
        return dense(x.shape[-1], "head", self.init_scale)(nn.swish(h)).astype(jnp.float32)
