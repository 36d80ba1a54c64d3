"""What the stochastic solvers share: the levels and the noise of a step, and the step that is exact in `x` and noise.

In the clock `s**2` the reverse SDE of noise strength `eta` is linear but for the denoised estimate `D`. With
`h = log(s0 / s1)` and `p = 1 + eta**2` its solution after a step from `s0` to `s1` is

    exp(-p h) x + integral_0^h p exp(-p (h - u)) D(u) du + s1 sqrt(1 - exp(-2 eta**2 h)) z,

so that solvers differ in how they estimate the integral.
"""

import jax.numpy as jnp
from jaxtyping import Array

from sgm_jax.sampling.corrector import Context
from sgm_jax.shapes import Batch, Level


def step_levels(t0: Level, t1: Level, y: Batch, args: Context) -> tuple[Array, Array, Array]:
    """Return the noise levels `s0`, `s1` of a step in the clock `s**2` and `h = log(s0 / s1)`, in the dtype of `y`.

    A step that ends at zero noise gets a large finite `h`, for which `exp(-h)` is as good as zero.

    Raises:
        ValueError: if the process runs in a chart of its own.
    """
    chart = args.process.chart
    if chart is not None:
        raise ValueError(
            f"the solver integrates a ReverseSDE in its clock s**2, got one in the chart {type(chart).__name__}; "
            "leave chart=None or use diffrax.ShARK()"
        )
    start, end = jnp.abs(t0), jnp.abs(t1)
    h = jnp.where(end > 0, 0.5 * jnp.log(start / jnp.where(end > 0, end, 1)), 80.0)
    return jnp.sqrt(start).astype(y.dtype), jnp.sqrt(end).astype(y.dtype), h.astype(y.dtype)


def step_noise(terms, t0: Level, t1: Level) -> Batch:
    """Return the standard Gaussian noise of a step [b, ...] from the terms' Brownian increment."""
    increment = terms.terms[1].contr(t0, t1)
    return increment / jnp.sqrt(t1 - t0).astype(increment.dtype)


def exact_step(y: Batch, integral: Batch, s1: Array, h: Array, eta: Array | float, noise: Batch) -> Batch:
    """Return the solution after a step from `y`, given the integral over the denoised estimate (see the module)."""
    eta = jnp.asarray(eta, y.dtype)
    return jnp.exp(-(1 + eta**2) * h) * y + integral + s1 * jnp.sqrt(-jnp.expm1(-2 * eta**2 * h)) * noise
