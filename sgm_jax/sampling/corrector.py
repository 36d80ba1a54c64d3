"""Predictor-corrector: a wrapped solver that adds Langevin steps and a constraint to any solver's steps."""

from collections.abc import Callable

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from sgm_jax.sampling.abstract import AbstractWrapper
from sgm_jax.sampling.noise import NoiseSource, Step, per_example_noise
from sgm_jax.sampling.processes import AbstractProcess
from sgm_jax.shapes import Batch, Level, PRNGKeys, expand

Constraint = Callable[[PRNGKeys, Level, Batch], Batch]


class Context(eqx.Module):
    """What a solver may need beyond the terms; passed as diffrax's `args`.

    Args:
        process: the process being integrated.
        corrector_keys: one PRNG key an example, for the corrector.
        constraint_keys: one PRNG key an example, for the constraint.
        solver_keys: one PRNG key an example, for solvers that draw noise of their own.
    """

    process: AbstractProcess
    corrector_keys: PRNGKeys
    constraint_keys: PRNGKeys
    solver_keys: PRNGKeys


def _norms(x: Batch) -> Array:
    return jnp.linalg.norm(x.reshape(x.shape[0], -1), axis=1)


# Step-size rules: (snr, s, noise, score) -> step size h, a scalar or [b], in canonical coordinates.


def annealed_step(snr: float, s: Level, noise: Batch, score: Batch) -> Array:
    """Return `2 (snr s)**2`: annealed Langevin dynamics (Song and Ermon, 2019, algorithm 1).

    It depends on the noise level alone, so the step is a proper Markov kernel in any dimension.
    """
    return 2 * jnp.square(snr * jnp.asarray(s))


def batch_mean_step(snr: float, s: Level, noise: Batch, score: Batch) -> Array:
    """Return `2 (snr |z| / |score|)**2` with norms averaged over the batch: the published rule, which couples it."""
    return 2 * jnp.square(snr * jnp.mean(_norms(noise)) / jnp.maximum(jnp.mean(_norms(score)), 1e-30))


def per_example_step(snr: float, s: Level, noise: Batch, score: Batch) -> Array:
    """Return `2 (snr |z| / |score|)**2` of each example [b]; sound in high dimension alone, where norms concentrate."""
    return 2 * jnp.square(snr * _norms(noise) / jnp.maximum(_norms(score), 1e-30))


class Langevin(eqx.Module):
    """Langevin corrector, `x <- x + h score + sqrt(2 h) z` in canonical coordinates.

    Args:
        snr: target ratio between the noise's and the score's contribution.
        steps: Langevin steps a call.
        step_size: the rule for `h`: `annealed_step`, `batch_mean_step` (as published) or `per_example_step`.
        source: noise source.

    References:
        Song et al., 2021, algorithms 4 and 5.
    """

    snr: float = 0.16
    steps: int = 1
    step_size: Callable = annealed_step
    source: NoiseSource = per_example_noise

    def __check_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if isinstance(self.snr, int | float) and not self.snr > 0:
            raise ValueError(f"snr must be > 0, got {self.snr}")

    def __call__(self, process: AbstractProcess, keys: PRNGKeys, step: Step, s: Level, xbar: Batch) -> Batch:
        """Make one Langevin step at noise level `s`, the `step`-th of the whole run."""
        score = process.noise(s, xbar) / -expand(s, xbar)
        noise = self.source(keys, step, xbar.shape)
        size = expand(self.step_size(self.snr, s, noise, score), xbar)
        return xbar + size * score + jnp.sqrt(2 * size) * noise


class PredictorCorrector(AbstractWrapper):
    """Wrap a solver: at each step first the corrector, then the solver, a constraint after every change.

    Needs a `Context` as `args`; `sample` gives it.

    Args:
        solver: the predictor, any diffrax solver that fits the process.
        corrector: Langevin steps before each step of the predictor, or None.
        constraint: `(keys, t, x) -> x`, applied in the SDE's own coordinates, or None.

    References:
        Song et al., 2021, algorithm 1.
    """

    solver: diffrax.AbstractSolver = diffrax.Euler()
    corrector: Langevin | None = Langevin()
    constraint: Constraint | None = None

    def init(self, terms, t0, t1, y0, args):
        return self.solver.init(terms, t0, t1, y0, args), jnp.zeros((), jnp.int32)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        (inner, step), corrector = solver_state, self.corrector
        per_step = 1 + (0 if corrector is None else corrector.steps)
        y = y0
        if corrector is not None:
            process, u = args.process, jnp.abs(t0)
            s = process.level(u)

            def correct(i, y):
                xbar = y / process.scale(s)
                index = step * corrector.steps + i
                xbar = corrector(process, args.corrector_keys, index, s, xbar)
                return self._constrain(args, step * per_step + i, s, xbar * process.scale(s))

            y = jax.lax.fori_loop(0, corrector.steps, correct, y)
        # The state may have moved since the solver's last evaluation, so it must not reuse that.
        y, error, _, inner, result = self.solver.step(terms, t0, t1, y, args, inner, True)
        s = args.process.level(jnp.abs(t1))
        y = self._constrain(args, step * per_step + per_step - 1, s, y)
        return y, error, dict(y0=y0, y1=y), (inner, step + 1), result

    def _constrain(self, args: Context, index: Step, s: Level, y: Batch) -> Batch:
        if self.constraint is None:
            return y
        sde = args.process.sde
        t = sde.t(s)
        scale = sde.alpha(t) / args.process.scale(s)
        keys = jax.vmap(jax.random.fold_in, (0, None))(args.constraint_keys, index)
        return self.constraint(keys, t, y * scale) / scale
