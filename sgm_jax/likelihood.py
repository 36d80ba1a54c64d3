"""Exact log-likelihoods, latent codes and bits per dimension through the probability-flow ODE.

Densities are those of the data at the SDE's smallest noise level `s(t_min)`: `log p(x)` with `x` in data units,
the same for every SDE. Integration runs in the angle chart, where every SDE looks alike and nothing is large.
"""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from sgm_jax.divergence import DIVERGENCES, Exact, Hutchinson
from sgm_jax.naming import choose
from sgm_jax.sampling.charts import AbstractChart, Angle
from sgm_jax.sampling.processes import ProbabilityFlow
from sgm_jax.sampling.solve import evaluations
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import (
    Batch,
    PerExample,
    PRNGKey,
    PRNGKeys,
    ScoreFn,
    dimension,
    expand,
    per_example_keys,
    sum_per_example,
)


class Likelihood(eqx.Module):
    """What `log_likelihood` returns.

    Args:
        log_prob: log density of each example, in nats [b].
        latent: each example's latent code, standard Gaussian under the model [b, ...].
        nfe: evaluations of the score function, each with its divergence; None for implicit solvers.
    """

    log_prob: PerExample
    latent: Batch
    nfe: Array | None


def log_likelihood(
    key: PRNGKey | PRNGKeys,
    sde: AbstractSDE,
    score_fn: ScoreFn,
    x: Batch,
    *,
    divergence: str | Hutchinson | Exact = "hutchinson",
    rtol: float = 1e-5,
    atol: float = 1e-5,
    solver: diffrax.AbstractSolver | None = None,
    chart: AbstractChart | None = None,
    adjoint: diffrax.AbstractAdjoint | None = None,
    max_steps: int = 4096,
) -> Likelihood:
    """Compute the log-likelihood of data by the instantaneous change of variables.

    The tolerances bound each step, not the result: for the error of the result compare with a tighter solve.

    Args:
        key: PRNG key of the projections, or one an example [b].
        sde: the forward SDE.
        score_fn: `score_fn(t, x)`.
        x: data [b, ...], in data units.
        divergence: `"hutchinson"` (unbiased), `"exact"`, or an object such as `Hutchinson(probes=10)`.
        rtol: relative tolerance of a step.
        atol: absolute tolerance of a step, in units of the data's scale and in nats.
        solver: adaptive diffrax solver; `diffrax.Dopri5()` unless given.
        chart: coordinates to integrate in; `Angle()` unless given (give it the data's standard deviation).
        adjoint: how to differentiate through the solve; `diffrax.ForwardMode()` unless given.
        max_steps: limit on steps.

    Returns:
        `Likelihood(log_prob, latent, nfe)`.

    Raises:
        ValueError: if the divergence's name is unknown or a tolerance is not positive.

    References:
        Song et al., 2021, appendix D.2.
    """
    if isinstance(divergence, str):
        divergence = choose("divergence", divergence, DIVERGENCES)
    _check_tolerances(rtol, atol)
    process = ProbabilityFlow(sde, score_fn, Angle() if chart is None else chart)
    keys = per_example_keys(key, x.shape[0])
    return _log_likelihood(keys, process, x, divergence, *_settings(rtol, atol, solver, adjoint, max_steps))


def encode(
    sde: AbstractSDE, score_fn: ScoreFn, x: Batch, *, rtol: float = 1e-5, atol: float = 1e-5, **options
) -> Batch:
    """Map data [b, ...] to latent codes [b, ...], standard Gaussian under the model. Options as `log_likelihood`."""
    return _transport(sde, score_fn, x, (sde.t_min, sde.t_max), rtol, atol, **options)


def decode(
    sde: AbstractSDE, score_fn: ScoreFn, latent: Batch, *, rtol: float = 1e-5, atol: float = 1e-5, **options
) -> Batch:
    """Map latent codes [b, ...] back to data [b, ...]: the inverse of `encode`. Options as `log_likelihood`."""
    return _transport(sde, score_fn, latent, (sde.t_max, sde.t_min), rtol, atol, **options)


def interpolate(latent0: Batch, latent1: Batch, weights: Array) -> Array:
    """Interpolate along the great circle between latent codes [b, ...]: returns [k, b, ...] for `weights` [k].

    References:
        Shoemake, Animating Rotation with Quaternion Curves, 1985.
    """
    flat0, flat1 = (z.reshape(z.shape[0], -1) for z in (latent0, latent1))
    cosine = jnp.sum(flat0 * flat1, 1) / (jnp.linalg.norm(flat0, axis=1) * jnp.linalg.norm(flat1, axis=1))
    angle = jnp.arccos(jnp.clip(cosine, -1 + 1e-6, 1 - 1e-6))

    def at(weight):
        first = jnp.sin((1 - weight) * angle) / jnp.sin(angle)
        second = jnp.sin(weight * angle) / jnp.sin(angle)
        return expand(first, latent0) * latent0 + expand(second, latent1) * latent1

    return jax.vmap(at)(jnp.asarray(weights))


def _check_tolerances(rtol: float, atol: float) -> None:
    if not (rtol > 0 and atol > 0):
        raise ValueError(f"rtol and atol must be > 0, got rtol={rtol}, atol={atol}")


def _settings(rtol, atol, solver, adjoint, max_steps):
    return (
        diffrax.PIDController(rtol=rtol, atol=atol),
        diffrax.Dopri5() if solver is None else solver,
        diffrax.ForwardMode() if adjoint is None else adjoint,
        max_steps,
    )


def _prior_spread(sde: AbstractSDE) -> Array:
    """Return the standard deviation of the prior in canonical coordinates."""
    return sde.prior_std / sde.alpha(sde.t_max)


@eqx.filter_jit
def _log_likelihood(keys, process, x, divergence, controller, solver, adjoint, max_steps) -> Likelihood:
    sde = process.sde
    low, high = sde.s(sde.t_min), sde.s(sde.t_max)

    # Everything traced goes through `args`, where every adjoint finds it.
    def vector_field(u, state, args):
        process, vectors = args
        velocity, pullback = jax.vjp(lambda y: process.vector_field(u, y), state[0])
        products = jax.lax.map(lambda v: sum_per_example(v * pullback(v)[0]), vectors)
        return velocity, divergence.combine(products)

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(vector_field),
        solver,
        t0=process.clock(low),
        t1=process.clock(high),
        dt0=0.01 * (process.clock(high) - process.clock(low)),
        y0=(x * process.scale(low), jnp.zeros(x.shape[0], x.dtype)),
        args=(process, divergence.vectors(keys, x)),
        stepsize_controller=controller,
        adjoint=adjoint,
        max_steps=max_steps,
    )
    y, gained = jax.tree.map(lambda v: v[-1], solution.ys)
    # log p(x) = log N(latent) + log |d latent / d y| + integral of the divergence + log |dy / dx|.
    spread = _prior_spread(sde)
    latent = y / (process.scale(high) * spread)
    log_normal = -0.5 * (sum_per_example(latent**2) + dimension(x) * jnp.log(2 * jnp.pi))
    volume = jnp.log(process.scale(low)) - jnp.log(process.scale(high)) - jnp.log(spread)
    log_prob = log_normal + gained + dimension(x) * volume
    nfe = evaluations(solver, solution.stats["num_steps"])
    return Likelihood(log_prob, latent, nfe)


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
    _check_tolerances(rtol, atol)
    process = ProbabilityFlow(sde, score_fn, Angle() if chart is None else chart)
    return _carry(process, x, ends, *_settings(rtol, atol, solver, adjoint, max_steps))


@eqx.filter_jit
def _carry(process, x, ends, controller, solver, adjoint, max_steps) -> Batch:
    sde = process.sde

    def factor(t):
        return process.scale(sde.s(t)) * (_prior_spread(sde) if t == sde.t_max else 1.0)

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
    return solution.ys[-1] / factor(stop)
