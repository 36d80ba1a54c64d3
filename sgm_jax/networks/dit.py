"""The diffusion transformer: DiT with adaLN-Zero, any image size, any number of channels."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sgm_jax.naming import choose
from sgm_jax.networks.dropout import Dropout
from sgm_jax.networks.embeddings import ConditionEmbedding, scaled_init
from sgm_jax.networks.resampling import depth_to_space, space_to_depth
from sgm_jax.shapes import check_images

POSITIONS = ("sincos", "rope")
REMAT = ("none", "block")
FREQUENCIES = 256  # width of the sines and cosines of the noise label
SINCOS_PERIOD = 1e4
ROPE_PERIOD = 100.0

DIT_SIZES = {
    f"{size}/{patch}": {"width": width, "depth": depth, "heads": heads, "patch": patch}
    for size, width, depth, heads in (("S", 384, 12, 6), ("B", 768, 12, 12), ("L", 1024, 24, 16), ("XL", 1152, 28, 16))
    for patch in (2, 4, 8)
}
"""Options of the published sizes: `DiT(**DIT_SIZES["XL/2"])` (Peebles and Xie, 2023, table 1)."""


def sincos_positions(height: int, width: int, features: int) -> Float[np.ndarray, "height width features"]:
    """Embed the positions of a grid as sines and cosines of their column, then of their row.

    Each is `[sin(w_k i), cos(w_k i)]` with `w_k = 10000^(-k / (features/4))`.

    Args:
        height: number of rows.
        width: number of columns.
        features: length of the embedding.

    Raises:
        ValueError: if `features` is no multiple of 4.

    References:
        Vaswani et al., "Attention Is All You Need", 2017, section 3.5; Dosovitskiy et al., "An Image is Worth 16x16
        Words", 2021, appendix D.4, for two dimensions.
    """
    if features % 4:
        raise ValueError(f"width must be a multiple of 4 for positions 'sincos', got {features}")
    frequencies = SINCOS_PERIOD ** (-np.arange(features // 4) / (features // 4))
    rows, columns = np.indices((height, width))
    angles = [position[..., None] * frequencies for position in (columns, rows)]
    return np.concatenate([part(angle) for angle in angles for part in (np.sin, np.cos)], axis=-1).astype(np.float32)


def rotate(x: Float[Array, "b h w heads d"]) -> Float[Array, "b h w heads d"]:
    """Turn queries or keys by angles proportional to their row and column (axial rotary positions).

    Features `k` and `k + d/2` make a plane, turned at position `(i, j)` by `w_k i` for the first `d/4` planes and by
    `w_(k - d/4) j` for the others, `w_k = 100^(-k / (d/4))`. The inner product of a turned query and a turned key then
    depends on the difference of their positions only.

    Args:
        x: queries or keys on a grid.

    Raises:
        ValueError: if `d` is no multiple of 4.

    References:
        Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021, equation 16.
        Heo et al., "Rotary Position Embedding for Vision Transformer", 2024, section 3.2, for two dimensions.
    """
    height, width, features = x.shape[1], x.shape[2], x.shape[-1]
    if features % 4:
        raise ValueError(f"width / heads must be a multiple of 4 for positions 'rope', got {features}")
    frequencies = ROPE_PERIOD ** (-np.arange(features // 4) / (features // 4))
    angles = np.concatenate([position[..., None] * frequencies for position in np.indices((height, width))], axis=-1)
    cos, sin = (part(angles)[:, :, None].astype(np.float32) for part in (np.cos, np.sin))
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, first * sin + second * cos], axis=-1).astype(x.dtype)


class SelfAttention(nn.Module):
    """Let every position of a grid attend to every other.

    Attributes:
        heads: number of heads, a divisor of the features.
        positions: "rope" turns queries and keys by their positions; "sincos" leaves them as they are.
        dtype: type to compute in.
    """

    heads: int
    positions: str
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w d"]) -> Float[Array, "b h w d"]:
        """Return what each position gathers."""
        b, h, w, d = x.shape

        def project(name, inputs):
            return nn.Dense(d, kernel_init=scaled_init(), dtype=self.dtype, name=name)(inputs)

        query, key, value = (
            project(name, x).reshape(b, h, w, self.heads, d // self.heads) for name in ("query", "key", "value")
        )
        if self.positions == "rope":
            query, key = rotate(query), rotate(key)
        query, key, value = (part.reshape(b, h * w, self.heads, -1) for part in (query, key, value))
        return project("out", jax.nn.dot_product_attention(query, key, value).reshape(b, h, w, d))


class DiTBlock(nn.Module):
    """Attention and a two-layer perceptron, each shifted, scaled and gated as the condition says (adaLN-Zero).

    `x + gate * branch(shift + (1 + scale) * norm(x))`, with shift, scale and gate linear in the condition and zero at
    initialisation, so that the block starts as the identity.

    Attributes:
        heads: number of attention heads.
        mlp_ratio: width of the perceptron's hidden layer in units of the features.
        positions: of the attention, "sincos" or "rope".
        dropout: probability of dropping a number of the perceptron's hidden layer.
        dtype: type to compute in.

    References:
        Peebles and Xie, "Scalable Diffusion Models with Transformers", 2023, section 3.2 and figure 3.
    """

    heads: int
    mlp_ratio: float
    positions: str
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w d"], condition: Float[Array, "b d"], deterministic: bool = True
    ) -> Float[Array, "b h w d"]:
        """Return the block's output.

        Args:
            x: tokens on their grid.
            condition: one vector an example, before its activation.
            deterministic: False applies dropout, with flax's "dropout" key.
        """
        features = x.shape[-1]
        shift_0, scale_0, gate_0, shift_1, scale_1, gate_1 = modulation(condition, features, 6, self.dtype)
        attention = SelfAttention(self.heads, self.positions, self.dtype, name="attention")
        x = x + gate_0 * attention(modulate(x, shift_0, scale_0, self.dtype))
        hidden = int(features * self.mlp_ratio)
        h = modulate(x, shift_1, scale_1, self.dtype)
        h = nn.gelu(nn.Dense(hidden, kernel_init=scaled_init(), dtype=self.dtype, name="dense_0")(h))
        h = Dropout(self.dropout)(h, deterministic)
        return x + gate_1 * nn.Dense(features, kernel_init=scaled_init(), dtype=self.dtype, name="dense_1")(h)


def modulation(condition: Float[Array, "b e"], features: int, count: int, dtype: Any) -> list[Float[Array, "b 1 1 d"]]:
    """Return `count` vectors that are linear in the activated condition, zero at initialisation."""
    dense = nn.Dense(count * features, kernel_init=nn.initializers.zeros, dtype=dtype, name="modulation")
    return jnp.split(dense(nn.swish(condition))[:, None, None], count, axis=-1)


def modulate(
    x: Float[Array, "b h w d"], shift: Float[Array, "b 1 1 d"], scale: Float[Array, "b 1 1 d"], dtype: Any
) -> Float[Array, "b h w d"]:
    """Normalise each token, then scale and shift it."""
    normed = nn.LayerNorm(epsilon=1e-6, use_bias=False, use_scale=False, dtype=dtype)(x)
    return normed * (1 + scale) + shift


class DiT(nn.Module):
    """Map a noise label and noisy images to images: a transformer on patches, conditioned by adaLN-Zero.

    Sizes that are no multiple of `patch` are filled with zeros and cropped again. Published sizes: `DIT_SIZES`.

    Attributes:
        width: features of a token.
        depth: number of blocks.
        heads: attention heads, a divisor of `width`.
        patch: side of the patches that make a token.
        mlp_ratio: width of each block's hidden layer in units of `width`.
        positions: "sincos" adds a fixed embedding to the tokens, "rope" turns queries and keys in every block.
        dropout: probability inside the blocks, in training.
        embedding: of the noise label, "positional" (labels spanning hundreds) or "fourier" (labels of order 1).
        label_scale: factor on the noise label before it is embedded.
        fourier_scale: standard deviation of the frequencies of "fourier".
        num_classes: number of classes, 0 for an unconditional network.
        augment_labels: number of augmentation labels, 0 for none.
        remat: "block" computes each block again in the backward pass instead of storing what is inside, "none" stores.
        dtype: type to compute in; parameters are float32.

    References:
        Peebles and Xie, "Scalable Diffusion Models with Transformers", 2023, section 3.
    """

    width: int = 384
    depth: int = 12
    heads: int = 6
    patch: int = 2
    mlp_ratio: float = 4.0
    positions: str = "sincos"
    dropout: float = 0.0
    embedding: str = "positional"
    label_scale: float = 1.0
    fourier_scale: float = 16.0
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
        """Return the network's output, of the shape of `x`, zero at initialisation, in float32.

        Args:
            noise_label: [b], the measure of noise that `embedding` expects.
            x: images [b, h, w, c], of about unit variance.
            label: classes [b] in `[0, num_classes)`, with `num_classes` or None for "no label"; or weights of the
                classes [b, num_classes].
            augment: augmentation labels [b, augment_labels], or None for "not augmented".
            deterministic: False applies dropout, with flax's "dropout" key.

        Raises:
            ValueError: if `width`, `depth` or `patch` is not positive, `heads` does not divide `width`, `width` does
                not suit `positions`, `positions`, `embedding` or `remat` is unknown, `x` holds no images, or labels
                are given that the network does not have.
        """
        for name in ("width", "depth", "heads", "patch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.width % self.heads:
            raise ValueError(f"heads must divide width={self.width}, got {self.heads}")
        check_images(x)
        choose("positions", self.positions, dict.fromkeys(POSITIONS))
        block = choose("remat", self.remat, {"none": DiTBlock, "block": nn.remat(DiTBlock, static_argnums=(3,))})
        condition = ConditionEmbedding(
            FREQUENCIES,
            self.width,
            self.embedding,
            self.fourier_scale,
            self.num_classes,
            self.dtype,
            augment_labels=self.augment_labels,
            freq_shift=0,
            order="cos_sin",
            name="embedding",
        )(self.label_scale * noise_label, label, augment)

        h = space_to_depth(x.astype(self.dtype), self.patch)
        h = nn.Dense(self.width, kernel_init=scaled_init(), dtype=self.dtype, name="stem")(h)
        if self.positions == "sincos":
            h = h + sincos_positions(h.shape[1], h.shape[2], self.width).astype(self.dtype)
        for i in range(self.depth):
            h = block(self.heads, self.mlp_ratio, self.positions, self.dropout, self.dtype, name=f"block_{i}")(
                h, condition, deterministic
            )
        shift, scale = modulation(condition, self.width, 2, self.dtype)
        h = modulate(h, shift, scale, self.dtype)
        h = nn.Dense(x.shape[-1] * self.patch**2, kernel_init=nn.initializers.zeros, dtype=self.dtype, name="head")(h)
        return depth_to_space(h, self.patch)[:, : x.shape[1], : x.shape[2]].astype(jnp.float32)
