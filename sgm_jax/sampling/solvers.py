"""Which solver fits which process, and what its steps cost."""

import diffrax
from jaxtyping import Array

from sgm_jax.sampling.abstract import AbstractCountedSolver, AbstractFlowSolver, AbstractNoiseSolver
from sgm_jax.sampling.charts import NoiseLevel
from sgm_jax.sampling.corrector import Constraint, PredictorCorrector
from sgm_jax.sampling.gotta_go_fast import GottaGoFast
from sgm_jax.sampling.multistep import DPMSolverPP
from sgm_jax.sampling.processes import AbstractProcess, ProbabilityFlow, ReverseSDE
from sgm_jax.sampling.restart import Restart


def evaluations(solver: diffrax.AbstractSolver, steps: Array) -> Array | None:
    """Count the evaluations of the score function from the number of steps."""
    # The wrappers first: diffrax's instance checks look through them.
    if type(solver) is PredictorCorrector or type(solver) is Restart:
        inner_steps = steps + (solver.extra_steps if type(solver) is Restart else 0)
        # The inner solver is told that the state jumped, so it evaluates its first stage anew each step.
        stages = None if type(solver.solver) is Restart else _stages(solver.solver)
        inner = evaluations(solver.solver, inner_steps) if stages is None else stages * inner_steps
        corrector = solver.corrector if type(solver) is PredictorCorrector else None
        return None if inner is None else inner + (0 if corrector is None else corrector.steps) * steps
    if isinstance(solver, AbstractCountedSolver):
        return steps * solver.evaluations_per_step + solver.evaluations_at_start
    stages = _stages(solver)
    if stages is None:
        return None
    # Of a first-same-as-last method a step's last stage is the next one's first.
    return steps * (stages - 1) + 1 if _is_fsal(solver) else steps * stages


def _stages(solver: diffrax.AbstractSolver) -> int | None:
    if isinstance(solver, diffrax.Euler):
        return 1
    if isinstance(solver, diffrax.AbstractSRK):
        ignored = solver.tableau.ignore_stage_f
        return len(solver.tableau.b_sol) - (0 if ignored is None else int(ignored.sum()))
    if isinstance(solver, diffrax.AbstractERK) and isinstance(solver.tableau, diffrax.ButcherTableau):
        return solver.tableau.num_stages
    return None


def _is_fsal(solver: diffrax.AbstractSolver) -> bool:
    if isinstance(solver, diffrax.AbstractERK) and isinstance(solver.tableau, diffrax.ButcherTableau):
        return solver.tableau.fsal
    return False


def predictor(solver: diffrax.AbstractSolver) -> diffrax.AbstractSolver:
    """Return the solver inside a predictor-corrector, or the solver itself."""
    return solver.solver if type(solver) is PredictorCorrector else solver


def levy_area(solver: diffrax.AbstractSolver) -> type:
    """Return the Brownian increment to give the solver: with the space-time Levy area if it asks for that."""
    inner = predictor(solver)
    asked = getattr(inner, "minimal_levy_area", diffrax.AbstractBrownianIncrement)
    return (
        diffrax.SpaceTimeLevyArea if issubclass(asked, diffrax.AbstractSpaceTimeLevyArea) else diffrax.BrownianIncrement
    )


def _has_error_estimate(solver: diffrax.AbstractSolver) -> bool:
    if type(solver) is Restart:
        return False
    if isinstance(solver, diffrax.AbstractSRK):
        return solver.tableau.b_error is not None
    return isinstance(solver, diffrax.AbstractAdaptiveSolver)


def fit_solver(
    process: AbstractProcess,
    solver: diffrax.AbstractSolver | None,
    rtol: float | None = None,
    atol: float | None = None,
) -> diffrax.AbstractSolver:
    """Return the solver to use on a process; adaptive steps are meant where there is a tolerance.

    Raises:
        ValueError: if the one given does not fit, saying which do, or a tolerance is missing or not positive.
    """
    if not isinstance(solver, diffrax.AbstractSolver | None):
        raise ValueError(f"solver must be a diffrax solver, such as DPMSolverPP() or diffrax.Heun(), got {solver!r}")
    adaptive = rtol is not None or atol is not None
    stochastic = isinstance(process, ReverseSDE)
    canonical = isinstance(process, ProbabilityFlow) and isinstance(process.coordinates, NoiseLevel)
    if adaptive:
        if rtol is None or atol is None or not (rtol > 0 and atol > 0):
            raise ValueError(f"adaptive steps need rtol > 0 and atol > 0, got rtol={rtol}, atol={atol}")
        fitting = diffrax.ShARK() if stochastic else diffrax.Tsit5()
        solver = fitting if solver is None else solver
        inner = predictor(solver)
        if not _has_error_estimate(inner):
            raise ValueError(
                f"adaptive steps need a solver with an error estimate such as diffrax.{type(fitting).__name__}(), got "
                f"{type(inner).__name__}; give it steps or a schedule"
            )
    if solver is None:
        if stochastic:
            solver = diffrax.Euler()
        else:
            solver = DPMSolverPP() if canonical else diffrax.Heun()
    inner = predictor(solver)
    if isinstance(inner, AbstractFlowSolver | Restart) and not canonical:
        chart = f" in the chart {type(process.coordinates).__name__}" if isinstance(process, ProbabilityFlow) else ""
        raise ValueError(
            f"{type(inner).__name__} integrates a ProbabilityFlow in the chart NoiseLevel, got a "
            f"{type(process).__name__}{chart}; "
            "use diffrax.Euler() or PredictorCorrector() for a ReverseSDE"
        )
    if not stochastic and isinstance(inner, AbstractNoiseSolver | GottaGoFast | diffrax.AbstractSRK):
        raise ValueError(
            f"{type(inner).__name__} integrates a ReverseSDE, got a ProbabilityFlow; use ReverseSDE(eta=...) with it, "
            "or DPMSolverPP() or diffrax.Heun() with a ProbabilityFlow"
        )
    if stochastic and not isinstance(inner, diffrax.AbstractItoSolver | diffrax.AbstractStratonovichSolver):
        raise ValueError(
            f"{type(inner).__name__} integrates ODEs: use it with a ProbabilityFlow, or diffrax.Euler(), "
            "diffrax.ShARK(), SDEDPMSolverPP() or PredictorCorrector() with a ReverseSDE"
        )
    return solver


def with_constraint(solver: diffrax.AbstractSolver, constraint: Constraint) -> PredictorCorrector:
    """Return the solver with a constraint after each of its steps."""
    if type(solver) is PredictorCorrector:
        return PredictorCorrector(solver.solver, solver.corrector, constraint)
    return PredictorCorrector(solver, None, constraint)
