"""Where the noise of a sampler comes from.

A noise source is any function `source(keys, step, shape) -> noise` [shape] of standard Gaussian numbers, with one
PRNG key an example. The default draws each example's noise from its own key alone, so an example comes out the
same whatever the batch around it or the number of devices; a `Recorded` source plays noise back.
"""

from collections.abc import Callable

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sgm_jax.shapes import PRNGKey, PRNGKeys

NoiseSource = Callable[..., Array]
Step = Int[Array, ""] | int


def per_example_noise(keys: PRNGKeys, step: Step, shape: tuple[int, ...]) -> Array:
    """Draw standard Gaussian noise [shape], example `i` from `keys[i]` and `step` alone."""

    def draw(key: PRNGKey) -> Array:
        return jax.random.normal(jax.random.fold_in(key, step), shape[1:])

    return jax.vmap(draw)(keys)


class Recorded(eqx.Module):
    """Play back recorded noise, one array a step.

    Args:
        noise: [steps, b, ...], in the order of the steps.
    """

    noise: Float[Array, "steps b ..."]

    def __call__(self, keys: PRNGKeys, step: Step, shape: tuple[int, ...]) -> Array:
        return self.noise[step]


class StepNoise(diffrax.AbstractBrownianPath):
    """Brownian increments over whole steps of a known schedule, walked from large clock values to small.

    Independent increments suffice for fixed steps; nothing is remembered between them.

    Args:
        clock: the schedule in the clock of integration [steps + 1], decreasing.
        keys: one PRNG key an example [b].
        source: the noise source.
        shape: shape of the state [b, ...].
    """

    clock: Float[Array, " n"]
    keys: PRNGKeys
    source: NoiseSource
    shape: tuple[int, ...] = eqx.field(static=True)
    levy_area: type = eqx.field(static=True, default=diffrax.BrownianIncrement)

    @property
    def t0(self):
        return self.clock[-1]

    @property
    def t1(self):
        return self.clock[0]

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        if t1 is None:
            raise ValueError("StepNoise gives increments over steps; it has no value at a single time")
        # t1 > t0 whichever way the solve runs, and t1 is where this step began.
        step = jnp.sum(self.clock > t1)
        increment = -jnp.sqrt(t1 - t0) * self.source(self.keys, step, self.shape)
        return diffrax.BrownianIncrement(dt=t1 - t0, W=increment) if use_levy else increment
