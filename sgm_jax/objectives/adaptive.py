"""A weighting of noise levels that is learned beside the network, so that each has as much of the loss."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgm_jax.shapes import PerExample

LOG_WEIGHT_FEATURES = 128
_random = np.random.default_rng(0)
_FREQUENCIES = _random.normal(size=LOG_WEIGHT_FEATURES).astype(np.float32)
_PHASES = _random.uniform(size=LOG_WEIGHT_FEATURES).astype(np.float32)


def log_weight(weights: Float[Array, " k"], s: PerExample) -> PerExample:
    """Return the logarithm of the weight of noise levels: linear in Fourier features of `log(s) / 4`.

    Args:
        weights: what is learned, one for each of the `LOG_WEIGHT_FEATURES`; at zeros all levels weigh alike.
        s: canonical noise levels [b].

    References:
        Karras et al., Analyzing and Improving the Training Dynamics of Diffusion Models, 2024, appendix B.2.
    """
    angle = jnp.log(s)[:, None] / 4 * _FREQUENCIES + _PHASES
    return jnp.sqrt(2) * jnp.cos(2 * jnp.pi * angle) @ weights / LOG_WEIGHT_FEATURES**0.5


def adaptively_weighted(losses: PerExample, log_weight: PerExample) -> PerExample:
    """Return `exp(w) loss - w` [b], which is least where `exp(-w)` is the expected loss of the level.

    References:
        Lu and Song, Simplifying, Stabilizing and Scaling Continuous-Time Consistency Models, 2024, equation 8. Their
            loss is divided by the number of dimensions, which `w` makes up for.
    """
    return jnp.exp(log_weight) * losses - log_weight
