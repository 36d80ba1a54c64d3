"""Exact log-likelihoods through the probability-flow ODE.

Densities are those of the data at the SDE's smallest noise level `s(t_min)`: `log p(x)` with `x` in data units,
the same for every SDE. Integration runs in the angle chart, where every SDE looks alike and nothing is large.
"""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgm_jax.divergence import AbstractDivergence, as_divergence, standard_error
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
    check_floating,
    dimension,
    per_example_keys,
    sum_per_example,
)


class Likelihood(eqx.Module):
    """What `log_likelihood` returns.

    Args:
        log_prob: log density of each example, in nats [b].
        standard_error: standard error of `log_prob` that comes from the estimated divergence, in nats [b]; None unless
            there are at least two separate estimates (`Hutchinson(probes=2)`) to tell it from.
        latent: each example's latent code, standard Gaussian under the model [b, ...].
        nfe: evaluations of the score function, each with its divergence, one number an example where each has steps
            of its own; None for implicit solvers.
    """

    log_prob: PerExample
    standard_error: PerExample | None
    latent: Batch
    nfe: Array | None


def log_likelihood(
    key: PRNGKey | PRNGKeys,
    sde: AbstractSDE,
    score_fn: ScoreFn,
    x: Batch,
    *,
    divergence: str | AbstractDivergence = "hutchinson",
    rtol: float = 1e-5,
    atol: float = 1e-5,
    steps: str = "batch",
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
        divergence: `"hutchinson"` (unbiased), `"hutch++"` (unbiased), `"exact"`, or an object such as
            `Hutchinson(probes=10)`.
        rtol: relative tolerance of a step.
        atol: absolute tolerance of a step, in units of the data's scale and in nats.
        steps: `"batch"`, the same for the whole batch, or `"per_example"`, adapted to each example alone, whose result
            then does not depend on the others; the score function is called with batches of one, and must not hold
            arrays as long as the batch.
        solver: adaptive diffrax solver; `diffrax.Dopri5()` unless given.
        chart: coordinates to integrate in; `Angle()` unless given (give it the data's standard deviation).
        adjoint: how to differentiate through the solve; `diffrax.ForwardMode()` unless given.
        max_steps: limit on steps.

    Returns:
        `Likelihood(log_prob, standard_error, latent, nfe)`.

    Raises:
        ValueError: if the divergence's name or that of the steps is unknown, a tolerance is not positive, or the data
            are integers.

    References:
        Song et al., 2021, appendix D.2.
    """
    take = choose("steps", steps, STEPS)
    check_floating("x", x)
    process = ProbabilityFlow(sde, score_fn, Angle() if chart is None else chart)
    settings = solver_settings(rtol, atol, solver, adjoint, max_steps)
    return take(per_example_keys(key, x.shape[0]), x, process, as_divergence(divergence), *settings)


def importance_weighted(log_prob: Float[Array, "k b"]) -> PerExample:
    """Combine log densities at `k` dequantisations of each example into one bound on its log probability [b].

    `log mean exp` over the draws. With one draw it is the usual bound by uniform dequantisation; its mean rises with
    `k` towards the log probability itself. The densities must be exact: an error of variance `v` in their logarithms,
    such as that of an estimated divergence, raises the result by up to `v / 2`.

    Args:
        log_prob: log densities in nats [k, b].

    References:
        Burda, Grosse, Salakhutdinov, Importance Weighted Autoencoders, 2016, eq. 8.
        Ho et al., Flow++, 2019, section 3.1.
    """
    return jax.nn.logsumexp(log_prob, axis=0) - jnp.log(len(log_prob))


def solver_settings(
    rtol: float,
    atol: float,
    solver: diffrax.AbstractSolver | None,
    adjoint: diffrax.AbstractAdjoint | None,
    max_steps: int,
) -> tuple:
    """Return step-size controller, solver, adjoint and limit on steps, with what stands for None.

    Raises:
        ValueError: if a tolerance is not positive.
    """
    if not (rtol > 0 and atol > 0):
        raise ValueError(f"rtol and atol must be > 0, got rtol={rtol}, atol={atol}")
    return (
        diffrax.PIDController(rtol=rtol, atol=atol),
        diffrax.Dopri5() if solver is None else solver,
        diffrax.ForwardMode() if adjoint is None else adjoint,
        max_steps,
    )


def prior_spread(sde: AbstractSDE) -> Array:
    """Return the standard deviation of the prior in canonical coordinates."""
    return sde.prior_std / sde.alpha(sde.t_max)


@eqx.filter_jit
def _together(keys, x, *problem) -> Likelihood:
    return _integrate(keys, x, *problem)


@eqx.filter_jit
def _each_alone(keys, x, *problem) -> Likelihood:
    def alone(key, example):
        out = _integrate(key[None], example[None], *problem)
        return (*jax.tree.map(lambda v: v[0], (out.log_prob, out.standard_error, out.latent)), out.nfe)

    log_prob, standard_error, latent, nfe = jax.vmap(alone)(keys, x)
    return Likelihood(log_prob, standard_error, latent, nfe)


STEPS = {"batch": _together, "per_example": _each_alone}


def _integrate(keys, x, process, divergence, controller, solver, adjoint, max_steps) -> Likelihood:
    sde = process.sde
    low, high = sde.s(sde.t_min), sde.s(sde.t_max)

    # Everything traced goes through `args`, where every adjoint finds it.
    def vector_field(u, state, args):
        process, vectors = args
        velocity, pullback = jax.vjp(lambda y: process.vector_field(u, y), state[0])
        return velocity, divergence.estimates(vectors, lambda v: pullback(v)[0])

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(vector_field),
        solver,
        t0=process.clock(low),
        t1=process.clock(high),
        dt0=0.01 * (process.clock(high) - process.clock(low)),
        y0=(x * process.scale(low), jnp.zeros((divergence.count, x.shape[0]), x.dtype)),
        args=(process, divergence.vectors(keys, x)),
        stepsize_controller=controller,
        adjoint=adjoint,
        max_steps=max_steps,
    )
    y, gained = jax.tree.map(lambda v: v[-1], solution.ys)
    # log p(x) = log N(latent) + log |d latent / d y| + integral of the divergence + log |dy / dx|.
    spread = prior_spread(sde)
    latent = y / (process.scale(high) * spread)
    log_normal = -0.5 * (sum_per_example(latent**2) + dimension(x) * jnp.log(2 * jnp.pi))
    volume = jnp.log(process.scale(low)) - jnp.log(process.scale(high)) - jnp.log(spread)
    log_prob = log_normal + gained.mean(axis=0) + dimension(x) * volume
    return Likelihood(log_prob, standard_error(gained), latent, evaluations(solver, solution.stats["num_steps"]))
