"""What a method is, and the three forms most of them take.

A method turns the score function of unconditional data into samples given a measurement. It does so in one or more of
four places, each of which has a default that does nothing: the score function (`condition`), the state after each step
(`constraint`), the step itself (`solver`), the sample at the end (`finish`). The forms: `AbstractGuided` adds the score
of a likelihood through the denoiser, `AbstractRefined` changes the denoised estimate, `AbstractTransition` has steps of
its own.
"""

import abc
from typing import ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from sgm_jax.inverse.measurement import Measurement
from sgm_jax.inverse.operator import AbstractOperator
from sgm_jax.sampling import AbstractNoiseSolver, Ancestral, SDEDPMSolverPP, per_example_noise
from sgm_jax.sampling.corrector import Constraint
from sgm_jax.sampling.schedules import Schedule
from sgm_jax.sampling.stochastic import step_levels, step_noise
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, Level, ScoreFn, expand


class AbstractMethod(eqx.Module):
    """A way to sample data given a measurement.

    Attributes:
        needs: the kind of operator that it can use.
        schedule: where its steps are, unless the caller says; `karras` if None.
        final: what becomes of the last state, as in `sample`, unless the caller says.
    """

    needs: ClassVar[type] = AbstractOperator
    schedule: ClassVar[Schedule | None] = None
    final: ClassVar[str] = "tweedie"

    def condition(self, sde: AbstractSDE, score_fn: ScoreFn, measurement: Measurement) -> ScoreFn:
        """Return the score function `(t, x) -> score` given the measurement."""
        return score_fn

    def constraint(self, sde: AbstractSDE, measurement: Measurement) -> Constraint | None:
        """Return `(keys, t, x) -> x`, applied after each step, or None."""
        return None

    def solver(self, measurement: Measurement) -> diffrax.AbstractSolver:
        """Return the solver of the reverse SDE to use unless the caller gives another."""
        return SDEDPMSolverPP()

    def finish(self, operator: AbstractOperator, y: Array, x: Array) -> Array:
        """Return what becomes of one sample [*shape] at the end."""
        return x


class AbstractGuided(AbstractMethod):
    """A method that adds the score of a likelihood of the denoised estimate, `score + J^T grad log p(y | x0)`."""

    @abc.abstractmethod
    def gradient(self, operator: AbstractOperator, y: Array, s: Array, denoised: Array) -> Array:
        """Return `grad log p(y | denoised)` [*shape] of one example at the canonical noise level `s`."""

    def condition(self, sde: AbstractSDE, score_fn: ScoreFn, measurement: Measurement) -> ScoreFn:
        return GuidedScore(sde, score_fn, measurement, self)


class GuidedScore(eqx.Module):
    """The score function of an `AbstractGuided`: one evaluation of the network, and one derivative through it."""

    sde: AbstractSDE
    score_fn: ScoreFn
    measurement: Measurement
    method: AbstractGuided

    def __call__(self, t: Level, x: Batch) -> Batch:
        denoised, score, pullback = denoise(self.sde, self.score_fn, t, x)
        s = jnp.broadcast_to(self.sde.s(t), x.shape[:1])
        return score + pullback(self.measurement.map(self.method.gradient, s, denoised))


def denoise(sde: AbstractSDE, score_fn: ScoreFn, t: Level, x: Batch):
    """Return the denoised estimate, the score, and the product of the estimate's transposed Jacobian with a batch."""

    def estimate(x):
        score = score_fn(t, x)
        return (x + expand(sde.sigma(t), x) ** 2 * score) / expand(sde.alpha(t), x), score

    denoised, pullback, score = jax.vjp(estimate, x, has_aux=True)
    return denoised, score, lambda v: pullback(v.astype(denoised.dtype))[0]


class AbstractRefined(AbstractMethod):
    """A method that brings the denoised estimate nearer to the measurement."""

    @abc.abstractmethod
    def refine(self, operator: AbstractOperator, y: Array, s: Array, denoised: Array) -> Array:
        """Return a better estimate [*shape] of one example, at the canonical noise level `s`."""

    def condition(self, sde: AbstractSDE, score_fn: ScoreFn, measurement: Measurement) -> ScoreFn:
        return RefinedScore(sde, score_fn, measurement, self)

    def solver(self, measurement: Measurement) -> diffrax.AbstractSolver:
        return Ancestral()


class RefinedScore(eqx.Module):
    """The score function of an `AbstractRefined`: every process and solver sees the refined estimate."""

    sde: AbstractSDE
    score_fn: ScoreFn
    measurement: Measurement
    method: AbstractRefined

    def __call__(self, t: Level, x: Batch) -> Batch:
        score = self.score_fn(t, x)
        alpha, variance = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x) ** 2
        denoised = (x + variance * score) / alpha
        s = jnp.broadcast_to(self.sde.s(t), x.shape[:1])
        return score + alpha / variance * (self.measurement.map(self.method.refine, s, denoised) - denoised)


class AbstractTransition(AbstractMethod):
    """A method with steps of its own, which no other solver can take.

    Attributes:
        repeats: how often each step is taken; between, the state goes back up with fresh noise.

    Raises:
        ValueError: unless `repeats` is at least 1.
    """

    repeats: eqx.AbstractVar[int]

    def __check_init__(self):
        if self.repeats < 1:
            raise ValueError(f"repeats must be at least 1, got {self.repeats}")

    @abc.abstractmethod
    def transition(
        self, operator: AbstractOperator, y: Array, s0: Array, s1: Array, x: Array, denoised: Array, noise: Array
    ) -> Array:
        """Return where one example goes in a step.

        Args:
            operator: what measured it.
            y: what was measured.
            s0: canonical noise level at the start of the step.
            s1: and at its end.
            x: the state in canonical coordinates [*shape].
            denoised: its denoised estimate.
            noise: standard Gaussian noise.
        """

    def solver(self, measurement: Measurement) -> diffrax.AbstractSolver:
        # Its number of evaluations is a property in the place of a class variable, which pyright takes for a field.
        return Transition(method=self, measurement=measurement)  # pyright: ignore[reportCallIssue]


class Transition(AbstractNoiseSolver):
    """The solver of an `AbstractTransition`."""

    method: AbstractTransition
    measurement: Measurement

    @property
    def evaluations_per_step(self) -> int:
        return self.method.repeats

    def order(self, terms):
        return 1

    def init(self, terms, t0, t1, y0, args):
        return jnp.zeros((), jnp.int32)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        s0, s1, _ = step_levels(t0, t1, y0, args)
        rise = jnp.sqrt(t1 - t0).astype(y0.dtype)
        levels = jnp.broadcast_to(s0, y0.shape[:1]), jnp.broadcast_to(s1, y0.shape[:1])

        def down(x, noise):
            denoised = args.process.denoised(s0, x)
            return self.measurement.map(self.method.transition, *levels, x, denoised, noise)

        def again(k, carry):
            x, index = carry
            fresh = lambda j: per_example_noise(args.solver_keys, 2 * index + j, x.shape)
            return down(x + rise * fresh(0), fresh(1)), index + 1

        y1, state = down(y0, step_noise(terms, t0, t1)), solver_state
        if self.method.repeats > 1:
            y1, state = jax.lax.fori_loop(1, self.method.repeats, again, (y1, state))
        return y1, None, dict(y0=y0, y1=y1), state, diffrax.RESULTS.successful
