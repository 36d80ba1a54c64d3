"""score_sde's samplers in their original discretisation, for published numbers that depend on it.

Every step here is `x <- a x + b score + c z` in the SDE's own scale, its coefficients taken from tables of `steps`
entries or from `dt = t_max / steps`, whatever the schedule. With `score_sde_schedule` they are the published samplers.
"""

import abc
from collections.abc import Callable
from typing import ClassVar

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from sgm_jax.sampling.abstract import AbstractNoiseSolver
from sgm_jax.sampling.corrector import batch_mean_step
from sgm_jax.sampling.processes import ReverseSDE
from sgm_jax.sampling.schedules import uniform_time
from sgm_jax.sde import VE, VP, AbstractSDE
from sgm_jax.shapes import Batch, Level, expand


def score_sde_schedule(sde: AbstractSDE, steps: int, *, t_min: float | None = None) -> NDArray:
    """Return the levels at `steps` times evenly spaced from `t_max` to `t_min`, then 0: the published loop.

    The last step, at `t_min`, thus ends at zero noise and adds none (the published "noise removal"); ask `sample` for
    `final="none"`.

    Args:
        sde: the forward SDE.
        steps: number of steps, at least 2.
        t_min: last time; 1e-5 for VE and 1e-3 otherwise unless given, as published.

    Raises:
        ValueError: if `steps` is less than 2.
    """
    _check_steps(steps)
    if t_min is None:
        t_min = 1e-5 if isinstance(sde, VE) else 1e-3
    return np.append(uniform_time(sde, steps - 1, t_min=t_min), 0.0)


def euler(sde: AbstractSDE, t: Level, steps: int) -> tuple[Array, Array]:
    """Return `(keep, spread)` of Euler's forward step `x <- keep x + spread z` over `dt = t_max / steps`."""
    dt = sde.t_max / steps
    return 1 + sde.drift_coefficient(t) * dt, sde.diffusion(t) * jnp.sqrt(dt)


def markov_chain(sde: AbstractSDE, t: Level, steps: int) -> tuple[Array, Array]:
    """Return `(keep, spread)` of the forward Markov chain that the SDE was derived from.

    For `VE` NCSN's chain, for `VP` DDPM's, `euler` for the rest. The chain's index is `t (steps - 1) / t_max`, rounded
    down.

    Raises:
        ValueError: if a VP chain has too few steps to exist.

    References:
        Song et al., 2021, eq. 8, 10, 46.
    """
    if isinstance(sde, VE):
        i = _index(sde, t, steps)
        # sigma_i**2 - sigma_{i-1}**2 without cancellation; before the first level there is no noise.
        growth = jnp.log(sde.sigma_max / sde.sigma_min) / (steps - 1)
        share = jnp.where(i > 0, -jnp.expm1(-2 * growth), 1.0)
        sigma = sde.sigma_min * jnp.exp(i * growth)
        return jnp.ones_like(sigma), sigma * jnp.sqrt(share)
    if isinstance(sde, VP):
        if isinstance(sde.beta_max, int | float) and not sde.beta_max < steps:
            raise ValueError(f"steps must be more than beta_max={sde.beta_max} for the VP chain to exist, got {steps}")
        beta = (sde.beta_min + _index(sde, t, steps) / (steps - 1) * (sde.beta_max - sde.beta_min)) / steps
        return jnp.sqrt(1 - beta), jnp.sqrt(beta)
    return euler(sde, t, steps)


def _index(sde: AbstractSDE, t: Level, steps: int) -> Array:
    # The schedule's times lie at or barely above their own indices: rounding in single precision must not lose one.
    return jnp.clip(jnp.floor(jnp.asarray(t) * ((1 + 1e-6) * (steps - 1) / sde.t_max)), 0, steps - 1)


def _check_steps(steps: int) -> None:
    if steps < 2:
        raise ValueError(f"steps must be at least 2, got {steps}")


class _PublishedSolver(AbstractNoiseSolver):
    evaluations_per_step: ClassVar[int] = 1
    steps: eqx.AbstractVar[int]

    def __check_init__(self):
        _check_steps(self.steps)

    @abc.abstractmethod
    def coefficients(self, process: ReverseSDE, t: Level) -> tuple[Array, Array, Array]:
        """Return `(a, b, c)` of the step `x <- a x + b score + c z` at time `t`."""

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        process, sde = args.process, args.process.sde
        s0, s1 = process.level(jnp.abs(t0)), process.level(jnp.abs(t1))
        t = sde.t(s0)
        a, b, c = self.coefficients(process, t)
        score = process.noise(s0, y0) / -sde.sigma(t)
        x = a * sde.alpha(t) * y0 + b * score
        # The increment has the variance of the clock's step; no noise is added to the data themselves.
        z = terms.terms[1].contr(t0, t1) / jnp.sqrt(jnp.abs(t1 - t0))
        y1 = ((x + jnp.where(s1 > 0, c, 0.0) * z) / sde.alpha(sde.t(s1))).astype(y0.dtype)
        return y1, None, dict(y0=y0, y1=y1), solver_state, diffrax.RESULTS.successful

    def init(self, terms, t0, t1, y0, args):
        return None


def _reverse(eta: Array | float, keep: Array, spread: Array) -> tuple[Array, Array, Array]:
    return 2 - keep, 0.5 * (1 + eta**2) * spread**2, eta * spread


class ScoreSDEEulerMaruyama(_PublishedSolver):
    """Euler-Maruyama in the SDE's own time and scale, with `dt = t_max / steps`.

    `x <- x - (f x - (1 + eta**2) / 2 g**2 score) dt + eta g sqrt(dt) z`; `eta=0` is the probability-flow form.

    Args:
        steps: number of steps N of the published discretisation.

    References:
        Song et al., 2021, appendix D; the reference implementation's `EulerMaruyamaPredictor`.
    """

    steps: int

    def coefficients(self, process: ReverseSDE, t: Level) -> tuple[Array, Array, Array]:
        return _reverse(process.eta, *euler(process.sde, t, self.steps))


class ScoreSDEReverseDiffusion(_PublishedSolver):
    """The reverse-diffusion predictor: the forward chain's own discretisation, run backward.

    `x <- (2 - keep) x + (1 + eta**2) / 2 spread**2 score + eta spread z` with `markov_chain`; `eta=0` is the
    probability-flow form.

    Args:
        steps: number of steps N of the published discretisation.

    References:
        Song et al., 2021, algorithms 2 and 3, and eq. 46.
    """

    steps: int

    def coefficients(self, process: ReverseSDE, t: Level) -> tuple[Array, Array, Array]:
        return _reverse(process.eta, *markov_chain(process.sde, t, self.steps))


class ScoreSDEAncestral(_PublishedSolver):
    """Ancestral sampling of the forward chains of `VE` (NCSN's) and `VP` (DDPM's).

    `x <- (x + spread**2 score) / keep + c z`, with `c = spread sigma_{i-1} / sigma_i` for VE and `spread` for VP.

    Args:
        steps: number of steps N of the published discretisation.

    Raises:
        ValueError: when used with another SDE, or with a process whose `eta` is not 1.

    References:
        Song et al., 2021, eq. 4 and 47. Ho et al., Denoising Diffusion Probabilistic Models, 2020, algorithm 2.
    """

    steps: int

    def coefficients(self, process: ReverseSDE, t: Level) -> tuple[Array, Array, Array]:
        sde, eta = process.sde, process.eta
        if not isinstance(sde, VE | VP):
            raise ValueError(f"ScoreSDEAncestral needs a chain with a known posterior, VE or VP, got {sde}")
        if isinstance(eta, int | float) and eta != 1:
            raise ValueError(f"ScoreSDEAncestral is defined for eta=1 alone, got {eta}")
        keep, spread = markov_chain(sde, t, self.steps)
        noise = spread
        if isinstance(sde, VE):
            growth = jnp.log(sde.sigma_max / sde.sigma_min) / (self.steps - 1)
            noise = jnp.where(_index(sde, t, self.steps) > 0, spread * jnp.exp(-growth), 0.0)
        return 1 / keep, spread**2 / keep, noise


class ScoreSDEStep(eqx.Module):
    """Step-size rule that turns `Langevin` into the published correctors: `keep**2` times another rule.

    The published factor is `alphas[i] = 1 - beta_i` for VP and 1 for VE, which is `keep**2` of `markov_chain`. This
    also defines it for every other SDE, such as sub-VP, where the reference implementation fails.

    Args:
        sde: the forward SDE.
        steps: number of steps N of the published discretisation.
        rule: `batch_mean_step` for the published Langevin corrector, `annealed_step` for annealed Langevin dynamics.

    References:
        Song et al., 2021, algorithms 4 and 5.
    """

    sde: AbstractSDE
    steps: int
    rule: Callable = batch_mean_step

    def __check_init__(self):
        _check_steps(self.steps)

    def __call__(self, snr: float, s: Level, noise: Batch, score: Batch) -> Array:
        t = self.sde.t(s)
        alpha = self.sde.alpha(t)
        # The rule sees the SDE's own scale, which matters to norms averaged over examples at different levels.
        size = self.rule(snr, self.sde.sigma(t), noise, score / expand(alpha, score))
        return jnp.square(markov_chain(self.sde, t, self.steps)[0] / alpha) * size
