"""Where the noise of a sampler comes from.

A noise source is any function `source(keys, step, shape) -> noise` [shape] of standard Gaussian numbers, with one
PRNG key an example. The default draws each example's noise from its own key alone, so an example comes out the
same whatever the batch around it or the number of devices; a `Recorded` source plays noise back.
"""

import functools
import math
from collections.abc import Callable

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax.extend.random import threefry_2x32
from jaxtyping import Array, Float, Int, UInt32

from sgm_jax.shapes import PRNGKey, PRNGKeys

NoiseSource = Callable[..., Array]
Step = Int[Array, ""] | int


# Taylor coefficients of cos(pi v) and sin(pi v) / v in v**2, to rounding in single precision for |v| <= 1/2.
_COSINE = [(-1) ** k * math.pi ** (2 * k) / math.factorial(2 * k) for k in range(7)]
_SINE = [(-1) ** k * math.pi ** (2 * k + 1) / math.factorial(2 * k + 1) for k in range(6)]


def per_example_noise(keys: PRNGKeys, step: Step, shape: tuple[int, ...]) -> Array:
    """Draw standard Gaussian noise [shape], example `i` from `keys[i]` and `step` alone."""

    def draw(key: PRNGKey) -> Array:
        return gaussian(jax.random.fold_in(key, step), shape[1:])

    # JAX draws for all keys of a batch from its first one, unless they are Threefry's.
    return jax.vmap(draw)(keys) if _is_threefry(keys) else jax.lax.map(draw, keys)


def gaussian(key: PRNGKey, shape: tuple[int, ...]) -> Array:
    """Draw standard Gaussian numbers [shape]; in single precision from a Threefry key by Box and Muller's method.

    `jax.random.normal` spends two words of random bits and an inverse error function on each number. Here two words
    give two: a radius, and an angle in a half circle with a sign.

    References:
        Box and Muller, A Note on the Generation of Random Normal Deviates, 1958.
    """
    if not _is_threefry(key) or jnp.result_type(float) != jnp.float32:
        return jax.random.normal(key, shape)
    size = math.prod(shape)
    half = -(-size // 2)
    words = threefry_2x32(jax.random.key_data(key), jnp.arange(2 * half, dtype=jnp.uint32))
    first, second = words[:half], words[half:]
    radius = jnp.sqrt(-2 * jnp.log(2 - _from_one_to_two(first)))
    # The lowest bit is not among those that make the angle.
    radius = jnp.where(second & 1, radius, -radius)
    v = _from_one_to_two(second) - 1.5
    # The barriers keep XLA from computing everything anew for each of the two, and for each use of the noise.
    radius, v = jax.lax.optimization_barrier((radius, v))
    pair = radius * _polynomial(_COSINE, v * v), radius * v * _polynomial(_SINE, v * v)
    return jnp.concatenate(jax.lax.optimization_barrier(pair))[:size].reshape(shape)


def _is_threefry(key: PRNGKey | PRNGKeys) -> bool:
    return key.dtype == jax.random.key(0, impl="threefry2x32").dtype


def _from_one_to_two(words: UInt32[Array, " n"]) -> Float[Array, " n"]:
    """Return numbers evenly distributed over [1, 2), of the words' highest 23 bits."""
    return jax.lax.bitcast_convert_type((words >> 9) | 0x3F800000, jnp.float32)


def _polynomial(coefficients: list[float], x: Float[Array, " n"]) -> Float[Array, " n"]:
    highest = jnp.full_like(x, coefficients[-1])
    return functools.reduce(lambda value, c: value * x + c, reversed(coefficients[:-1]), highest)


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
