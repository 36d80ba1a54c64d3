"""A small conditional normalising flow: the distribution of noise within the bins of integer data."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Coupling(nn.Module):
    """Map one half of a checkerboard by scales and shifts that follow from the other half and a condition.

    Attributes:
        width: width of the two hidden layers, 3x3 convolutions for images, dense for vectors.
        parity: 0 or 1, which half is mapped.
    """

    width: int
    parity: int

    @nn.compact
    def __call__(self, y: Float[Array, "b ..."], condition: Float[Array, "b ..."]) -> tuple[Array, Array]:
        """Return the log scale and the shift [b, ...], zero where `y` is to stay, and everywhere at initialisation."""
        mapped = np.indices(y.shape[1:]).sum(axis=0) % 2 == self.parity

        def layer(features, name, **options):
            if y.ndim == 4:
                return nn.Conv(features, (3, 3), name=name, **options)
            return nn.Dense(features, name=name, **options)

        h = jnp.concatenate([jnp.where(mapped, 0, y), condition], axis=-1)
        h = nn.swish(layer(self.width, "stem")(h))
        h = nn.swish(layer(self.width, "hidden")(h))
        h = layer(2 * y.shape[-1], "head", kernel_init=nn.initializers.zeros)(h)
        log_scale, shift = jnp.split(h, 2, axis=-1)
        return jnp.where(mapped, 2 * jnp.tanh(log_scale / 2), 0), jnp.where(mapped, shift, 0)


class DequantisationFlow(nn.Module):
    """Map standard logistic noise to `u` in (0, 1), given data: affine couplings, then a sigmoid.

    At initialisation `u` is uniform.

    Attributes:
        width: width of the couplings' hidden layers.
        layers: number of couplings.

    References:
        Dinh et al., Density Estimation Using Real NVP, 2017, section 3.
        Ho et al., Flow++, 2019, section 3.1.
    """

    width: int = 32
    layers: int = 4

    def setup(self):
        self.couplings = [Coupling(self.width, i % 2, name=f"coupling_{i}") for i in range(self.layers)]

    def __call__(self, noise: Float[Array, "b ..."], condition: Float[Array, "b ..."]) -> tuple[Array, Array]:
        """Return `u` [b, ...] and its log density given `condition` [b, ...], in nats [b]."""
        y, log_q = noise, _log_logistic(noise)
        for coupling in self.couplings:
            log_scale, shift = coupling(y, condition)
            y, log_q = y * jnp.exp(log_scale) + shift, log_q - log_scale
        return jax.nn.sigmoid(y), _sum(log_q - _log_logistic(y))

    def inverse(self, u: Float[Array, "b ..."], condition: Float[Array, "b ..."]) -> tuple[Array, Array]:
        """Return the noise that leads to `u` [b, ...], and the log density of `u`, in nats [b]."""
        y = jnp.log(u) - jnp.log1p(-u)
        log_q = -_log_logistic(y)
        for coupling in reversed(self.couplings):
            log_scale, shift = coupling(y, condition)
            y, log_q = (y - shift) * jnp.exp(-log_scale), log_q - log_scale
        return y, _sum(log_q + _log_logistic(y))


def _log_logistic(y: Array) -> Array:
    """Return the log density of the standard logistic distribution, which is the log slope of the sigmoid too."""
    return jax.nn.log_sigmoid(y) + jax.nn.log_sigmoid(-y)


def _sum(x: Array) -> Array:
    return jnp.sum(x.reshape(x.shape[0], -1), axis=1)
