"""What the library's own solvers share: the process they integrate, and what their steps cost."""

from collections.abc import Callable
from typing import ClassVar

import diffrax
import equinox as eqx


class AbstractCountedSolver(diffrax.AbstractSolver):
    """A solver of the library's own, each of whose steps makes the same number of evaluations of the score function."""

    interpolation_cls: ClassVar[Callable] = diffrax.LocalLinearInterpolation
    evaluations_per_step: eqx.AbstractClassVar[int]
    evaluations_at_start: ClassVar[int] = 0

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)


class AbstractFlowSolver(AbstractCountedSolver):
    """A solver of `ProbabilityFlow` in the chart `NoiseLevel`: its clock is `s`, its vector field the noise estimate.

    A step sees `t0 = s0`, `t1 = s1`, or both with the opposite sign where `diffeqsolve` integrates, which knows no
    time that runs backward; it should use `|t|` and ratios alone.
    """

    term_structure: ClassVar = diffrax.ODETerm


class AbstractNoiseSolver(AbstractCountedSolver, diffrax.AbstractItoSolver):
    """A solver of `ReverseSDE` whose clock is `s**2`, with one independent Gaussian increment a step.

    The terms are a `MultiTerm` of drift and noise; `args` is a `Context`, whose `process` gives the denoised estimate
    and the noise strength `eta`.
    """

    term_structure: ClassVar = diffrax.MultiTerm[tuple[diffrax.ODETerm, diffrax.AbstractTerm]]


class AbstractWrapper(diffrax.AbstractWrappedSolver):
    """A solver that does something around each step of another, which may have moved the state."""

    @property
    def term_structure(self):
        return self.solver.term_structure

    @property
    def interpolation_cls(self):
        return diffrax.LocalLinearInterpolation

    @property
    def term_compatible_contr_kwargs(self):
        return self.solver.term_compatible_contr_kwargs

    @property
    def scan_kind(self):
        # diffrax sets this field of Runge-Kutta solvers, and takes a wrapper for what it wraps.
        return self.solver.scan_kind  # pyright: ignore[reportAttributeAccessIssue]

    def order(self, terms):
        return self.solver.order(terms)

    def strong_order(self, terms):
        return self.solver.strong_order(terms)

    def func(self, terms, t0, y0, args):
        return self.solver.func(terms, t0, y0, args)
