"""Dropout with four numbers from one random word."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgm_jax.shapes import PRNGKey

BYTES = 4
GOLDEN = 0.6180339887498949  # its multiples, modulo 1, spread evenly


class Dropout(nn.Module):
    """Drop numbers in training.

    Attributes:
        rate: probability of dropping one.
    """

    rate: float

    @nn.compact
    def __call__(self, x: Float[Array, "b n *rest"], deterministic: bool) -> Float[Array, "b n *rest"]:
        """Return `x` with numbers dropped by flax's "dropout" key, or as it is if `deterministic`.

        Raises:
            ValueError: if `rate` is not in [0, 1).
        """
        if not 0 <= self.rate < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.rate}")
        return x if deterministic or not self.rate else drop(self.make_rng("dropout"), x, self.rate)


def drop(key: PRNGKey, x: Float[Array, "b n *rest"], rate: float) -> Float[Array, "b n *rest"]:
    """Set numbers to zero with probability `rate`, and divide the others by `1 - rate`.

    A random word decides about four neighbours along `n`, by a byte each, for hashing words takes longer than all the
    rest. With bytes, probabilities are multiples of 1/256: along `n` the two next to the rate take turns, so
    that their mean is the rate to within about `1 / (256 n)`.

    References:
        Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014, section 4.
    """
    keep, (rows, number, *rest) = 1 - rate, x.shape
    words = jax.random.bits(key, (rows, -(-number // BYTES), *rest), jnp.uint32)
    # The barrier keeps the hash from being computed once for each use of the words.
    words = jax.lax.optimization_barrier(words)
    shifts = 8 * jnp.arange(BYTES, dtype=jnp.uint32).reshape(-1, *(1 for _ in rest))
    parts = (words[:, :, None] >> shifts & 0xFF).reshape(rows, -1, *rest)[:, :number]
    limits = np.floor(256 * keep + np.arange(number) * GOLDEN % 1).astype(np.uint32)
    return jnp.where(parts < limits.reshape(-1, *(1 for _ in rest)), x / keep, 0).astype(x.dtype)
