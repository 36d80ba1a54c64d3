"""Solvers by the names that configs use."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import diffrax
from ml_collections import ConfigDict
from numpy.typing import NDArray

from sgm_jax import sampling
from sgm_jax.naming import choose, construct
from sgm_jax.sampling import DenoisedForm, ExponentialAdams, Langevin, PredictorCorrector, SoftLog, VelocityForm
from sgm_jax.sde import AbstractSDE


def predictor_corrector(snr: float = 0.16, corrector_steps: int = 1) -> PredictorCorrector:
    """Return Euler-Maruyama with Langevin steps in canonical coordinates."""
    return PredictorCorrector(corrector=Langevin(snr, corrector_steps))


def annealed_langevin(snr: float = 0.16, corrector_steps: int = 5) -> PredictorCorrector:
    """Return annealed Langevin dynamics, the step given by the signal-to-noise ratio that mode `suggest` finds."""
    return PredictorCorrector(sampling.Hold(), Langevin(snr, corrector_steps))


def score_sde(predictor: Callable) -> Callable[..., PredictorCorrector]:
    """Return the maker of score_sde's predictor-corrector in its own discretisation; no corrector without an snr."""

    def make(sde: AbstractSDE, steps: int, snr: float | None = None, corrector_steps: int = 1) -> PredictorCorrector:
        rule = sampling.ScoreSDEStep(sde, steps)
        return PredictorCorrector(predictor(steps), None if snr is None else Langevin(snr, corrector_steps, rule))

    return make


def soft_adams(order: int = 4, data_scale: float = 1.0, detail: float = 0.1) -> ExponentialAdams:
    """Return the corrected Adams method on the velocity that keeps its order down to zero noise."""
    return ExponentialAdams(order, VelocityForm(data_scale), variable=SoftLog(detail), correction=1.0)


def tabulated(levels: NDArray, order: int = 2) -> sampling.TabulatedMultistep:
    """Return the exponential Adams-Bashforth method over the levels as a table, every entry of which can be fitted."""
    steps = len(levels) - 1
    return sampling.TabulatedMultistep(sampling.adams_bashforth(levels, order=min(order, steps), memory=steps))


# Makers of solvers: keyword options, among them the SDE, the number of steps and the levels where they need them.
SOLVERS = {
    "ancestral": sampling.Ancestral,
    "annealed_langevin": annealed_langevin,
    "bosh3": diffrax.Bosh3,
    "churn": lambda steps, s_churn=40.0, s_noise=1.003: sampling.Churn(steps + 1, s_churn, s_noise=s_noise),
    "consistency": sampling.Consistency,
    "ddim": diffrax.Euler,
    "deis": lambda order=3: ExponentialAdams(order),
    "dopri5": diffrax.Dopri5,
    "dopri8": diffrax.Dopri8,
    "dpm_solver_2": sampling.DPMSolver2,
    "dpm_solver_2s_pp": lambda: sampling.DPMSolver2(DenoisedForm()),
    "dpm_solver_3": sampling.DPMSolver3,
    "dpm_solver_pp": sampling.DPMSolverPP,
    "euler": diffrax.Euler,
    "gotta_go_fast": sampling.GottaGoFast,
    "heun": diffrax.Heun,
    "kvaerno5": diffrax.Kvaerno5,
    "midpoint": diffrax.Midpoint,
    "predictor_corrector": predictor_corrector,
    "ralston": diffrax.Ralston,
    "sa_solver": lambda order=3: sampling.SASolver(order, order),
    "score_sde_ancestral": score_sde(sampling.ScoreSDEAncestral),
    "score_sde_euler_maruyama": score_sde(sampling.ScoreSDEEulerMaruyama),
    "score_sde_reverse_diffusion": score_sde(sampling.ScoreSDEReverseDiffusion),
    "sde_dpm_solver_pp": lambda order=2: sampling.SDEDPMSolverPP(order),
    "shark": diffrax.ShARK,
    "soft_adams": soft_adams,
    "sra1": diffrax.SRA1,
    "tabulated": tabulated,
    "tsit5": diffrax.Tsit5,
    "unipc": sampling.UniPC,
}
OPTIONS = ("order", "variance", "snr", "corrector_steps", "s_churn", "s_noise", "data_scale", "detail")


def make_solver(
    section: Mapping[str, Any] | ConfigDict, sde: AbstractSDE, levels: NDArray | None
) -> diffrax.AbstractSolver:
    """Make the solver that a config's `sampling` section names, with those of its options that are set.

    Args:
        section: the section.
        sde: the SDE.
        levels: the canonical noise levels of fixed steps [steps + 1], None for adaptive ones.

    Raises:
        ValueError: if the name is unknown, or an option is set that the solver does not take or allow.
    """
    name = section["solver"]
    maker = choose("sampling.solver", name, SOLVERS)
    context = {"sde": sde, "steps": section["steps"], "levels": levels}
    wanted = inspect.signature(maker).parameters
    if levels is None and ("steps" in wanted or "levels" in wanted):
        raise ValueError(f"sampling.solver {name!r} makes fixed steps: set sampling.steps, got None")
    given = {key: value for key, value in context.items() if key in wanted}
    # The schedules have a data_scale too; it is the solver's only where the solver takes it.
    chosen = {key: section[key] for key in OPTIONS if key != "data_scale" or key in wanted}
    return construct(f"sampling.solver {name!r}", maker, chosen | given)
