"""How the moving average of the parameters starts: functions `(rate, step) -> decay` of the step from number `step` on.

So that the average forgets the initialisation, however short the run.
"""

import jax.numpy as jnp
from jaxtyping import Array


def none(rate: float, step: Array) -> Array:
    """Keep the decay at `rate` from the first step on."""
    return jnp.full_like(step, rate, dtype=jnp.float32)


def harmonic(rate: float, step: Array) -> Array:
    """Let the decay rise as `(1 + step) / (10 + step)` up to `rate`."""
    return jnp.minimum(rate, (1 + step) / (10 + step))


def half_life(rate: float, step: Array) -> Array:
    """Keep the average's half-life, in steps, at a twentieth of the steps made, up to that of `rate`.

    References:
        Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, appendix F.2.
    """
    return jnp.minimum(rate, jnp.exp2(-20 / jnp.maximum(step, 1e-3)))


WARMUPS = {"half_life": half_life, "harmonic": harmonic, "none": none}
