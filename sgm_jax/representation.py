"""Data as latent codes: the probability flow maps each example to one, and back; what lies between and beside them."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgm_jax.likelihood import prior_spread, solver_settings
from sgm_jax.naming import choose
from sgm_jax.sampling.charts import AbstractChart, Angle
from sgm_jax.sampling.processes import ProbabilityFlow
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, ScoreFn, check_floating, expand


def encode(
    sde: AbstractSDE, score_fn: ScoreFn, x: Batch, *, rtol: float = 1e-5, atol: float = 1e-5, **options: Any
) -> Batch:
    """Map data [b, ...] to latent codes [b, ...], standard Gaussian under the model. Options as `log_likelihood`."""
    return _transport(sde, score_fn, x, (sde.t_min, sde.t_max), rtol, atol, **options)


def decode(
    sde: AbstractSDE,
    score_fn: ScoreFn,
    latent: Batch,
    *,
    temperature: float = 1.0,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    **options: Any,
) -> Batch:
    """Map latent codes [b, ...] back to data [b, ...]: the inverse of `encode`. Options as `log_likelihood`.

    Args:
        sde: the forward SDE.
        score_fn: `score_fn(t, x)`.
        latent: latent codes [b, ...].
        temperature: what the codes are multiplied by: data from below 1 are plainer and less varied.
        rtol: relative tolerance of a step.
        atol: absolute tolerance of a step, in units of the data's scale.
        **options: those of `log_likelihood`'s that belong to the solver.

    Raises:
        ValueError: if the temperature is negative or a tolerance is not positive.

    References:
        Song et al., 2021, appendix D.3 (encoding, interpolation, temperature).
    """
    if not temperature >= 0:
        raise ValueError(f"temperature must be >= 0, got {temperature}")
    return _transport(sde, score_fn, temperature * latent, (sde.t_max, sde.t_min), rtol, atol, **options)


def interpolate(latent0: Batch, latent1: Batch, weights: Array, path: str = "great_circle") -> Array:
    """Interpolate between latent codes [b, ...]: returns [k, b, ...] for `weights` [k], 0 for the first codes.

    Args:
        latent0: where to begin [b, ...].
        latent1: where to end [b, ...].
        weights: how far along the path [k].
        path: `"great_circle"` goes through codes as long as its ends, as Gaussian noise in many dimensions is; `"line"`
            straight, through shorter ones.

    Raises:
        ValueError: if the path's name is unknown.

    References:
        Shoemake, Animating Rotation with Quaternion Curves, 1985.
    """
    shares = choose("path", path, PATHS)

    def at(weight):
        first, second = shares(latent0, latent1, weight)
        return expand(first, latent0) * latent0 + expand(second, latent1) * latent1

    return jax.vmap(at)(jnp.asarray(weights))


def attribute_direction(present: Float[Array, "a ..."], absent: Batch) -> Float[Array, "..."]:
    """Return the direction [...] in which an attribute grows, to be added to codes in any amount before `decode`.

    Args:
        present: latent codes of examples that have the attribute [a, ...].
        absent: latent codes of examples that do not [b, ...].

    References:
        Kingma and Dhariwal, Glow, 2018, section 5.
    """
    return present.mean(axis=0) - absent.mean(axis=0)


def _great_circle(latent0: Batch, latent1: Batch, weight: Array) -> tuple[Array, Array]:
    flat0, flat1 = (z.reshape(z.shape[0], -1) for z in (latent0, latent1))
    cosine = jnp.sum(flat0 * flat1, 1) / (jnp.linalg.norm(flat0, axis=1) * jnp.linalg.norm(flat1, axis=1))
    angle = jnp.arccos(jnp.clip(cosine, -1 + 1e-6, 1 - 1e-6))
    return jnp.sin((1 - weight) * angle) / jnp.sin(angle), jnp.sin(weight * angle) / jnp.sin(angle)


def _line(latent0: Batch, latent1: Batch, weight: Array) -> tuple[Array, Array]:
    return 1 - weight, weight


PATHS = {"great_circle": _great_circle, "line": _line}


def _transport(
    sde: AbstractSDE,
    score_fn: ScoreFn,
    x: Batch,
    ends: tuple[float, float],
    rtol: float,
    atol: float,
    *,
    solver: diffrax.AbstractSolver | None = None,
    chart: AbstractChart | None = None,
    adjoint: diffrax.AbstractAdjoint | None = None,
    max_steps: int = 4096,
) -> Batch:
    """Carry `x` along the probability flow between the two ends; the end at `t_max` has unit variance."""
    check_floating("x", x)
    process = ProbabilityFlow(sde, score_fn, Angle() if chart is None else chart)
    return _carry(process, x, ends, *solver_settings(rtol, atol, solver, adjoint, max_steps))


@eqx.filter_jit
def _carry(process, x, ends, controller, solver, adjoint, max_steps) -> Batch:
    sde = process.sde

    def factor(t):
        return process.scale(sde.s(t)) * (prior_spread(sde) if t == sde.t_max else 1.0)

    start, stop = ends
    solution = diffrax.diffeqsolve(
        process.terms(None),
        solver,
        t0=process.clock(sde.s(start)),
        t1=process.clock(sde.s(stop)),
        dt0=0.01 * (process.clock(sde.s(stop)) - process.clock(sde.s(start))),
        y0=x * factor(start),
        stepsize_controller=controller,
        adjoint=adjoint,
        max_steps=max_steps,
    )
    return jax.tree.map(lambda ys: ys[-1], solution.ys) / factor(stop)
