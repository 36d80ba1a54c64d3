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

    Raises:
        ValueError: when called, if the noise of a step has another shape than the samples.
    """

    noise: Float[Array, "steps b ..."]

    def __call__(self, keys: PRNGKeys, step: Step, shape: tuple[int, ...]) -> Array:
        if self.noise.shape[1:] != shape:
            raise ValueError(f"Recorded noise must have the shape [steps, *{shape}], got {self.noise.shape}")
        return self.noise[step]


class StepNoise(diffrax.AbstractBrownianPath):
    """Brownian increments over whole steps of a known schedule.

    Independent increments suffice for fixed steps; nothing is remembered between them. A step takes one draw from the
    source, or two for a solver that needs the space-time Levy area: increment, then area.

    Args:
        times: where the steps begin and end [steps + 1], increasing.
        keys: one PRNG key an example [b].
        source: the noise source.
        shape: shape of the state [b, ...].
        levy_area: `diffrax.BrownianIncrement` or `diffrax.SpaceTimeLevyArea`, what the solver asks for.
    """

    times: Float[Array, " n"]
    keys: PRNGKeys
    source: NoiseSource
    shape: tuple[int, ...] = eqx.field(static=True)
    levy_area: type = eqx.field(static=True, default=diffrax.BrownianIncrement)

    @property
    def t0(self):
        return self.times[0]

    @property
    def t1(self):
        return self.times[-1]

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        if t1 is None:
            raise ValueError("StepNoise gives increments over steps; it has no value at a single time")
        step = jnp.sum(self.times < t0)
        dt = t1 - t0
        if self.levy_area is diffrax.BrownianIncrement:
            increment = jnp.sqrt(dt) * self.source(self.keys, step, self.shape)
            return diffrax.BrownianIncrement(dt=dt, W=increment) if use_levy else increment
        increment = jnp.sqrt(dt) * self.source(self.keys, 2 * step, self.shape)
        if not use_levy:
            return increment
        area = jnp.sqrt(dt / 12) * self.source(self.keys, 2 * step + 1, self.shape)
        return diffrax.SpaceTimeLevyArea(dt=dt, W=increment, H=area)


class BrownianTree(diffrax.AbstractBrownianPath):
    """Brownian paths that can be asked for any increment, one path an example, for adaptive steps.

    Example `i` follows the path of `keys[i]`, whatever steps are taken and whatever the batch around it.

    Args:
        t0: start of the interval.
        t1: end of the interval.
        tol: time below which the paths are not resolved; it must be smaller than any step.
        keys: one PRNG key an example [b].
        shape: shape of the state [b, ...].
        levy_area: `diffrax.BrownianIncrement` or `diffrax.SpaceTimeLevyArea`, what the solver asks for.

    References:
        Jelincic, Foster and Kidger, Single-seed generation of Brownian paths and integrals for adaptive and high
        order SDE solvers, 2024.
    """

    t0: Array
    t1: Array
    tol: Array
    keys: PRNGKeys
    shape: tuple[int, ...] = eqx.field(static=True)
    levy_area: type = eqx.field(static=True, default=diffrax.BrownianIncrement)

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        def one(key):
            tree = diffrax.VirtualBrownianTree(self.t0, self.t1, self.tol, self.shape[1:], key, self.levy_area)
            return tree.evaluate(t0, t1, use_levy=use_levy)

        out = jax.vmap(one)(self.keys)
        # The time step is the batch's.
        return eqx.tree_at(lambda out: out.dt, out, out.dt[0]) if use_levy else out
