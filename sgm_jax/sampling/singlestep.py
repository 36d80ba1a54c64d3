"""Exponential single-step solvers: the integrand is evaluated again inside each step, nothing is carried over."""

from typing import ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp

from sgm_jax.sampling.abstract import AbstractFlowSolver
from sgm_jax.sampling.integrands import AbstractForm, NoiseForm, Quadrature, bh2, exact, step_weights


class _SingleStep(AbstractFlowSolver):
    """Exponential Runge-Kutta method: each stage follows the line in `log s` through the first and the latest one.

    A step that ends at `s = 0` is of first order.
    """

    form: eqx.AbstractVar[AbstractForm]
    fractions: eqx.AbstractClassVar[tuple[float, ...]]
    line: eqx.AbstractClassVar[Quadrature]

    def order(self, terms):
        return self.evaluations_per_step

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        s0, s1 = jnp.abs(t0), jnp.abs(t1)
        ratio = jnp.where(s1 > 0, s1, s0) / s0
        ends = jnp.append(s0 * ratio ** jnp.asarray(self.fractions, s0.dtype), s1)

        def stage(i, carry):
            level, y, first = carry
            latest = self.form.integrand(level, y, terms.vf(jnp.sign(t0) * level, y, args))
            first = jnp.where(i > 0, first, latest)
            # A step to zero has no inner levels: its stages coincide, and the first alone counts.
            valid = jnp.stack([jnp.ones_like(s1, bool), (s1 > 0) & (i > 0)])
            nodes = jnp.stack([s0, level])
            weights = step_weights(self.form, jnp.log, type(self).line, s0, ends[i], nodes, valid).astype(y0.dtype)
            y = self.form.decay(s0, ends[i]).astype(y0.dtype) * y0 + weights[0] * first + weights[1] * latest
            return ends[i], y, first

        # In a loop, so that the network is compiled once.
        _, y, _ = jax.lax.fori_loop(0, len(ends), stage, (s0, y0, jnp.zeros_like(y0)))
        return y, None, dict(y0=y0, y1=y), solver_state, diffrax.RESULTS.successful

    def init(self, terms, t0, t1, y0, args):
        return None


class DPMSolver2(_SingleStep):
    """DPM-Solver-2: two evaluations a step, the second in its middle in `log s`; on the denoised estimate, ++(2S).

    Args:
        form: `NoiseForm()`, or `DenoisedForm()` for DPM-Solver++(2S).

    References:
        Lu et al., DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around 10 Steps, 2022,
        algorithm 1. Lu et al., DPM-Solver++, 2022, algorithm 1.
    """

    evaluations_per_step: ClassVar[int] = 2
    fractions: ClassVar[tuple[float, ...]] = (1 / 2,)
    line: ClassVar[Quadrature] = bh2
    form: AbstractForm = NoiseForm()


class DPMSolver3(_SingleStep):
    """DPM-Solver-3: three evaluations a step, at its start and at one and two thirds of it in `log s`.

    Args:
        form: `NoiseForm()`, or `DenoisedForm()` for the same on the denoised estimate.

    References:
        Lu et al., DPM-Solver, 2022, algorithm 2.
    """

    evaluations_per_step: ClassVar[int] = 3
    fractions: ClassVar[tuple[float, ...]] = (1 / 3, 2 / 3)
    line: ClassVar[Quadrature] = exact
    form: AbstractForm = NoiseForm()
