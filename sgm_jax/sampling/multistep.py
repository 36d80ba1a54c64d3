"""Exponential multistep solvers: exact in the linear part of the flow, carrying past evaluations in their state.

One method with three free choices: what is extrapolated (the form), in which variable, and how much of the step an
Adams-Moulton correction redoes once the next evaluation is known. The published solvers are choices of these.
"""

from collections.abc import Callable
from typing import ClassVar

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sgm_jax.sampling.abstract import AbstractFlowSolver
from sgm_jax.sampling.integrands import AbstractForm, DenoisedForm, NoiseForm, Quadrature, bh2, exact, step_weights


def _check_order(order: int, allowed: tuple[int, ...]) -> None:
    if order not in allowed:
        raise ValueError(f"order must be one of {', '.join(map(str, allowed))}, got {order!r}")


class _Multistep(AbstractFlowSolver):
    """What the exponential multistep solvers share: all but the choices."""

    evaluations_per_step: ClassVar[int] = 1
    points: eqx.AbstractVar[int]
    form: eqx.AbstractVar[AbstractForm]
    variable: eqx.AbstractVar[Callable[[Array], Array]]
    line: eqx.AbstractVar[Quadrature]
    correction: eqx.AbstractVar[float]

    def order(self, terms):
        return self.points

    def init(self, terms, t0, t1, y0, args):
        # Integrands and levels of the past, the latest first, and how many of them there are.
        kept = self.points if self.correction else self.points - 1
        return (jnp.zeros_like(y0),) * kept, jnp.ones((kept,), jnp.result_type(t0)), jnp.zeros((), jnp.int32)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        past, levels, count = solver_state
        # Only |t| and ratios: where diffeqsolve integrates backward it flips the sign of time.
        s0, s1 = jnp.abs(t0), jnp.abs(t1)
        integrands = (self.form.integrand(s0, y0, terms.vf(t0, y0, args)), *past)
        nodes = jnp.concatenate([s0[None], levels])
        age = np.arange(len(integrands))

        def increment(start, end, valid):
            weights = step_weights(self.form, self.variable, self.line, start, end, nodes, valid)
            return sum(w * n for w, n in zip(weights.astype(y0.dtype), integrands, strict=True))

        if self.correction:
            # The step that led here, with the polynomial through this evaluation too less the one it was taken with.
            known = age <= count
            redone = increment(levels[0], s0, known) - increment(levels[0], s0, known & (age > 0))
            # A state moved since by a constraint or a Langevin step is no longer that step's end.
            y0 = y0 + jnp.where((count > 0) & ~jnp.asarray(made_jump), self.correction * redone, 0).astype(y0.dtype)
        decay, latest = self.form.decay(s0, s1), age <= jnp.minimum(count, self.points - 1)
        y1 = decay.astype(y0.dtype) * y0 + increment(s0, s1, latest)
        state = integrands[:-1], nodes[:-1], jnp.minimum(count + 1, len(past))
        return y1, None, dict(y0=y0, y1=y1), state, diffrax.RESULTS.successful


class ExponentialAdams(_Multistep):
    """Exponential Adams-Bashforth method, with an Adams-Moulton correction if wanted; one evaluation a step.

    `scale(s1) x1 = scale(s0) x0 + integral of P du`, where `P` is the polynomial through the last `order` values of the
    form's integrand in the variable `z(s)`. The order rises by one a step from one, and a last step that ends at
    `s = 0` is of first order unless `z(0)` is finite. DEIS has `variable=lambda s: s` (rho-AB) or
    `variable=sde.t` (tAB), on the noise.

    Args:
        order: 1 to 4. The first is DDIM for every form but the velocity.
        form: what is extrapolated: `NoiseForm()`, `DenoisedForm()` or `VelocityForm(data_scale)`.
        variable: a monotone function `z(s)`, finite for `s > 0`; `SoftLog(scale)` is finite at zero too.
        correction: share of the correction that is applied to a step once the next evaluation is known: 0 none, 1 all
            of it, which raises the order by one. Left out where the state was moved between the steps.

    Raises:
        ValueError: if the order is not 1 to 4.

    References:
        Zhang and Chen, Fast Sampling of Diffusion Models with Exponential Integrator, 2022, eq. 15.
        Hochbruck and Ostermann, Exponential Integrators, 2010, section 2.5.
    """

    points: int
    form: AbstractForm
    variable: Callable[[Array], Array]
    line: Quadrature
    correction: float

    def __init__(
        self,
        order: int = 3,
        form: AbstractForm = NoiseForm(),  # noqa: B008
        *,
        variable: Callable[[Array], Array] = jnp.log,
        correction: float = 0.0,
    ):
        _check_order(order, (1, 2, 3, 4))
        self.points, self.form, self.variable, self.line, self.correction = order, form, variable, exact, correction


class DPMSolverPP(_Multistep):
    """DPM-Solver++(2M) and (3M): Adams-Bashforth on the denoised estimate in `log s`, one evaluation a step.

    The second order takes the integrand in the middle of the step for the whole, as published.

    Args:
        order: 2 or 3.

    Raises:
        ValueError: if the order is neither.

    References:
        Lu et al., DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models, 2022, alg. 2.
    """

    points: int
    form: AbstractForm
    variable: Callable[[Array], Array]
    line: Quadrature
    correction: float

    def __init__(self, order: int = 2):
        _check_order(order, (2, 3))
        self.points, self.form, self.variable, self.line, self.correction = order, DenoisedForm(), jnp.log, bh2, 0.0


class UniPC(_Multistep):
    """UniPC: Adams-Bashforth in `log s`, corrected once the next evaluation is known, which the next step uses too.

    Args:
        order: 2 or 3, of the predictor; the corrected method's is one more.
        form: `DenoisedForm()` or `NoiseForm()`.
        line: how a line is integrated: `bh2` or `bh1`, the published `B(h)`. At order 3 it matters in the first two
            steps alone.

    Raises:
        ValueError: if the order is neither.

    References:
        Zhao et al., UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models, 2023,
        algorithms 1 to 4.
    """

    points: int
    form: AbstractForm
    variable: Callable[[Array], Array]
    line: Quadrature
    correction: float

    def __init__(self, order: int = 2, form: AbstractForm = DenoisedForm(), line: Quadrature = bh2):  # noqa: B008
        _check_order(order, (2, 3))
        self.points, self.form, self.variable, self.line, self.correction = order, form, jnp.log, line, 1.0
