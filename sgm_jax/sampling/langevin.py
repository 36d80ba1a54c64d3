"""Langevin dynamics on their own: annealed through a schedule of noise levels, or at one fixed target.

Annealed Langevin dynamics are `sample()` with a predictor that does nothing. At a fixed target (a score function at
one noise level, or a log density) chains run in a fictitious time through diffrax's solvers, one Brownian path an
example; time is counted in steps, so that a step is exactly one whatever its size.
"""

from collections.abc import Callable
from typing import ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from sgm_jax.sampling.abstract import AbstractNoiseSolver
from sgm_jax.sampling.corrector import Langevin, PredictorCorrector
from sgm_jax.sampling.schedules import level_range
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, PerExample, PRNGKey, PRNGKeys, per_example_keys


class Hold(AbstractNoiseSolver):
    """The predictor that keeps the state: all work is left to the corrector."""

    evaluations_per_step: ClassVar[int] = 0

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        return y0, None, dict(y0=y0, y1=y0), solver_state, diffrax.RESULTS.successful


def annealed_langevin(step_size: float, s_min: float, steps: int = 5) -> PredictorCorrector:
    """Return NCSN's annealed Langevin dynamics, for `sample` with a `ReverseSDE` and the schedule `langevin_levels`.

    At each level `s`: `steps` times `x <- x + h score + sqrt(2 h) z` with `h = step_size (s / s_min)**2`. In terms of
    the corrector's signal-to-noise ratio `step_size = 2 (snr s_min)**2`. The final denoising of NCSNv2 is `sample`'s
    `final="tweedie"`; NCSN has none.

    Args:
        step_size: step size at the last level (published 2e-5 for NCSN, 6.2e-6 for NCSNv2 on CIFAR-10).
        s_min: the last noise level, in data units.
        steps: Langevin steps a level.

    Raises:
        ValueError: if an argument is not positive.

    References:
        Song and Ermon, Generative Modeling by Estimating Gradients of the Data Distribution, 2019, algorithm 1.
        Song and Ermon, Improved Techniques for Training Score-Based Generative Models, 2020, algorithm 1.
    """
    _check_positive(step_size=step_size, s_min=s_min)
    return PredictorCorrector(Hold(), Langevin(snr=(step_size / 2) ** 0.5 / s_min, steps=steps))


def langevin_levels(sde: AbstractSDE, steps: int) -> NDArray:
    """Return `steps` levels in geometric sequence, both ends included, at each of which the corrector runs.

    One more level ends the last step. It lies a millionth below the last one, so that a final denoising step is taken
    where the chain stands.
    """
    _check_positive(steps=steps)
    low, high = level_range(sde)
    s = np.geomspace(high, low, steps)
    return np.append(s, s[-1] * (1 - 1e-6))


class MALA(diffrax.AbstractItoSolver):
    """Metropolis-adjusted Euler-Maruyama: leaves the density invariant whatever the step.

    Integrates `MultiTerm(drift, noise)` with `drift = D**2 / 2 grad log p`, the noise `D` constant and diagonal, its
    path one with space-time Levy area: that area is independent of the increment, and so decides on acceptance. The
    solver's state holds the number of proposals accepted.

    Args:
        log_density: `log p` of one state, a scalar, up to a constant.

    References:
        Roberts and Tweedie, Exponential Convergence of Langevin Distributions and Their Discrete Approximations, 1996.
    """

    log_density: Callable

    term_structure: ClassVar = diffrax.MultiTerm[tuple[diffrax.ODETerm, diffrax.AbstractTerm]]
    interpolation_cls: ClassVar[Callable] = diffrax.LocalLinearInterpolation

    def init(self, terms, t0, t1, y0, args):
        drift = terms.terms[0].vf(t0, y0, args)
        return drift, self.log_density(y0), jnp.zeros_like(y0, shape=())

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        drift, log_p, accepted = solver_state
        drift_term, noise_term = terms.terms
        dt, levy = drift_term.contr(t0, t1), noise_term.contr(t0, t1, use_levy=True)
        spread = noise_term.vf_prod(t0, y0, args, jnp.ones_like(y0))
        proposal = y0 + dt * drift + spread * levy.W
        proposal_drift, proposal_log_p = drift_term.vf(t1, proposal, args), self.log_density(proposal)
        # The increment that would lead back; both ways have the variance dt.
        back = (y0 - proposal - dt * proposal_drift) / spread
        log_ratio = proposal_log_p - log_p + jnp.sum(levy.W**2 - back**2) / (2 * dt)
        # H has the variance dt / 12, so this is standard normal and its distribution function uniform.
        normal = jnp.sum(levy.H) / jnp.sqrt(levy.H.size * dt / 12)
        # A proposal off the support, or an infinite one, has no ratio: it is refused.
        accept = jax.scipy.stats.norm.logcdf(normal) < log_ratio
        y1 = jnp.where(accept, proposal, y0)
        state = (
            jnp.where(accept, proposal_drift, drift),
            jnp.where(accept, proposal_log_p, log_p),
            accepted + accept,
        )
        return y1, None, dict(y0=y0, y1=y1), state, diffrax.RESULTS.successful

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)


class Chains(eqx.Module):
    """What `mala` returns.

    Args:
        x: the states at the end [b, ...].
        acceptance: share of each chain's proposals that were accepted [b].
    """

    x: Batch
    acceptance: PerExample


def mala(
    key: PRNGKey | PRNGKeys,
    log_density: Callable[[Batch], PerExample],
    x: Batch,
    *,
    step_size: Array | float,
    steps: int,
) -> Chains:
    """Run Metropolis-adjusted Langevin chains: proposals `x + h grad log p + sqrt(2 h) z`.

    Args:
        key: one PRNG key, or one an example [b].
        log_density: `log p` [b] of `x` [b, ...], up to a constant.
        x: where the chains start [b, ...].
        step_size: `h`.
        steps: number of proposals.

    Raises:
        ValueError: if `step_size` or `steps` is not positive.
    """
    single = lambda y: log_density(y[None])[0]
    x, (_, _, accepted) = _overdamped(key, jax.grad(single), x, step_size, steps, MALA(single))
    return Chains(x, accepted / steps)


def overdamped_langevin(
    key: PRNGKey | PRNGKeys,
    score: Callable[[Batch], Batch],
    x: Batch,
    *,
    step_size: Array | float,
    steps: int,
    solver: diffrax.AbstractSolver | None = None,
) -> Batch:
    """Run unadjusted Langevin chains, `dx = score(x) dt + sqrt(2) dw`, and return where they end [b, ...].

    Args:
        key: one PRNG key, or one an example [b].
        score: `grad log p` [b, ...] of `x` [b, ...], such as `lambda x: score_fn(t, x)`.
        x: where the chains start [b, ...].
        step_size: `h`; Euler's step is `x + h score + sqrt(2 h) z`.
        steps: number of steps.
        solver: any of diffrax's solvers for additive noise; `diffrax.Euler()` unless given. `diffrax.SEA()` and
            `diffrax.ShARK()` have a smaller bias.

    Raises:
        ValueError: if `step_size` or `steps` is not positive.
    """
    single = lambda y: score(y[None])[0]
    return _overdamped(key, single, x, step_size, steps, diffrax.Euler() if solver is None else solver)[0]


def underdamped_langevin(
    key: PRNGKey | PRNGKeys,
    score: Callable[[Batch], Batch],
    x: Batch,
    *,
    step_size: Array | float,
    steps: int,
    friction: Array | float = 1.0,
    solver: diffrax.AbstractSolver | None = None,
) -> Batch:
    """Run underdamped Langevin chains and return where they end [b, ...].

    `dx = v dt`, `dv = -friction v dt + score(x) dt + sqrt(2 friction) dw`, from a velocity in equilibrium.

    Args:
        key: one PRNG key, or one an example [b].
        score: `grad log p` [b, ...] of `x` [b, ...], such as `lambda x: score_fn(t, x)`.
        x: where the chains start [b, ...].
        step_size: `dt`, in units of the target's own length: the velocity has variance 1.
        steps: number of steps.
        friction: rate at which the velocity is forgotten.
        solver: `diffrax.ALIGN()` (one evaluation a step, second order; the default), `diffrax.ShOULD()` or
            `diffrax.QUICSORT()` (third order), or any other of diffrax's that fits.

    Raises:
        ValueError: if `step_size`, `steps` or `friction` is not positive.

    References:
        Foster et al., The Shifted ODE Method for Underdamped Langevin MCMC, 2021.
    """
    _check_positive(step_size=step_size, steps=steps, friction=friction)
    keys = jax.vmap(jax.random.split)(per_example_keys(key, x.shape[0]))
    velocity = jax.vmap(lambda key, y: step_size * jax.random.normal(key, y.shape, y.dtype))(keys[:, 1], x)

    # With time in steps and the velocity in length a step: friction h, and force h**2.
    def terms(path):
        rates = jnp.asarray(friction * step_size, x.dtype), jnp.asarray(step_size**2, x.dtype)
        drift = diffrax.UnderdampedLangevinDriftTerm(*rates, lambda y, args: -score(y[None])[0])
        return diffrax.MultiTerm(drift, diffrax.UnderdampedLangevinDiffusionTerm(*rates, path))

    return _chains(keys[:, 0], terms, diffrax.ALIGN() if solver is None else solver, (x, velocity), steps)[0][0]


def _overdamped(key, score: Callable, x: Batch, step_size: Array | float, steps: int, solver) -> tuple:
    _check_positive(step_size=step_size, steps=steps)

    def terms(path):
        spread = lambda t, y, args: lineax.DiagonalLinearOperator(jnp.full_like(y, jnp.sqrt(2 * step_size)))
        drift = diffrax.ODETerm(lambda t, y, args: step_size * score(y))
        return diffrax.MultiTerm(drift, diffrax.ControlTerm(spread, path))

    return _chains(per_example_keys(key, x.shape[0]), terms, solver, x, steps)


def _chains(keys: PRNGKeys, terms: Callable, solver: diffrax.AbstractSolver, y, steps: int) -> tuple:
    """Integrate each example on its own over `steps` units of time; return states and solver states at the end."""
    position = jax.tree.leaves(y)[0]
    shape = jax.ShapeDtypeStruct(position.shape[1:], position.dtype)

    @jax.jit
    @jax.vmap
    def chain(key: PRNGKey, y):
        path = diffrax.UnsafeBrownianPath(shape, key, diffrax.SpaceTimeTimeLevyArea)
        solution = diffrax.diffeqsolve(
            terms(path),
            solver,
            t0=0.0,
            t1=float(steps),
            dt0=1.0,
            y0=y,
            saveat=diffrax.SaveAt(t1=True, solver_state=True),
            adjoint=diffrax.ForwardMode(),
            max_steps=steps,
        )
        return jax.tree.map(lambda ys: ys[0], solution.ys), solution.solver_state

    return chain(keys, y)


def _check_positive(**arguments: Array | int | float) -> None:
    for name, value in arguments.items():
        if isinstance(value, int | float) and not value > 0:
            raise ValueError(f"{name} must be > 0, got {value}")
