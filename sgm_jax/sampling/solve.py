"""Draw samples: any process, any diffrax solver, fixed or adaptive steps."""

from collections.abc import Callable

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgm_jax.sampling.abstract import AbstractFlowSolver, AbstractNoiseSolver
from sgm_jax.sampling.charts import Angle, NoiseLevel
from sgm_jax.sampling.corrector import Constraint, Context, PredictorCorrector
from sgm_jax.sampling.exponential import DPMSolverPP
from sgm_jax.sampling.gotta_go_fast import GottaGoFast
from sgm_jax.sampling.hyperbolic import Hyperbolic
from sgm_jax.sampling.noise import BrownianTree, NoiseSource, StepNoise, per_example_noise
from sgm_jax.sampling.processes import AbstractProcess, ProbabilityFlow, ReverseSDE
from sgm_jax.sampling.restart import Restart
from sgm_jax.sampling.schedules import Schedule, karras, level_range
from sgm_jax.shapes import Batch, PRNGKey, PRNGKeys, expand, per_example_keys


class Trajectory(eqx.Module):
    """States saved on the way from noise to data.

    Args:
        s: canonical noise levels [k], decreasing.
        xt: noisy states in the SDE's own scale [k, b, ...].
        denoised: the denoised estimates there, in data units [k, b, ...].
    """

    s: Float[Array, " k"]
    xt: Float[Array, "k b ..."]
    denoised: Float[Array, "k b ..."]


class Samples(eqx.Module):
    """What `sample` returns.

    Args:
        x: samples in data units [b, ...].
        nfe: evaluations of the score function (scalar integer), the final denoising included; None for solvers
            whose evaluations cannot be counted from outside (implicit ones).
        trajectory: the states saved on the way, or None.
    """

    x: Batch
    nfe: Array | None
    trajectory: Trajectory | None


def sample(
    key: PRNGKey | PRNGKeys,
    process: AbstractProcess,
    shape: tuple[int, ...],
    *,
    solver: diffrax.AbstractSolver | None = None,
    schedule: Schedule | Array | np.ndarray | None = None,
    steps: int | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    controller: Callable[..., diffrax.AbstractStepSizeController] = diffrax.PIDController,
    x_init: Batch | None = None,
    constraint: Constraint | None = None,
    final: str = "tweedie",
    save: int = 0,
    noise: NoiseSource = per_example_noise,
    adjoint: diffrax.AbstractAdjoint | None = None,
    progress_meter: diffrax.AbstractProgressMeter | None = None,
    max_steps: int = 4096,
) -> Samples:
    """Draw samples by integrating a process from noise to data.

    Fixed steps: give `steps` (and a schedule other than the default, if wanted) or an array of noise levels as
    `schedule`. Adaptive steps: give `rtol` and `atol`. They are the same for the whole batch; for steps of its own for
    each example, map over batches of one: `jax.vmap(lambda key: sample(key[None], process, (1, ...), ...).x[0])(keys)`.

    Args:
        key: one PRNG key, or one an example [b]. Example `i` depends on its own key alone, not on the batch.
        process: `ProbabilityFlow(sde, score_fn)` or `ReverseSDE(sde, score_fn, eta)`.
        shape: shape of the samples [b, ...].
        solver: any diffrax solver that fits the process. Default: for `ProbabilityFlow` `DPMSolverPP` with fixed
            and `diffrax.Tsit5` with adaptive steps, for `ReverseSDE` `diffrax.Euler` and `diffrax.ShARK`.
        schedule: a function `(sde, steps) -> s` or an array of decreasing canonical noise levels [steps + 1]. For
            adaptive steps its first and last entry are the ends. `karras` unless given.
        steps: number of steps.
        rtol: relative tolerance of a step, over the whole batch.
        atol: absolute tolerance, in the units of the process's chart.
        controller: makes the step-size controller of adaptive steps, `controller(rtol=rtol, atol=atol)`.
        x_init: where to start, in the SDE's own scale at the schedule's first level [b, ...]; the prior unless given.
        constraint: `(keys, t, x) -> x`, applied after each step in the SDE's own scale.
        final: `"tweedie"` returns the denoised estimate at the last level (one more evaluation), `"none"` the
            state itself.
        save: number of states to save for the trajectory, both ends included.
        noise: the noise source; adaptive steps of a `ReverseSDE` take it for the prior alone, and follow Brownian
            paths drawn from the key.
        adjoint: how to differentiate through the sampler; `diffrax.ForwardMode()` unless given. Use
            `diffrax.DirectAdjoint()` or `diffrax.RecursiveCheckpointAdjoint()` for `jax.grad`.
        progress_meter: a diffrax progress meter for long runs.
        max_steps: limit on adaptive steps.

    Returns:
        `Samples(x, nfe, trajectory)`.

    Raises:
        ValueError: if steps, schedule or tolerances are missing, contradict each other or are out of range, or the
            solver does not fit the process.
    """
    adaptive = rtol is not None or atol is not None
    if adaptive and process.chart is None:
        chart = Hyperbolic() if isinstance(process, ReverseSDE) else Angle()
        process = eqx.tree_at(lambda p: p.chart, process, chart, is_leaf=lambda leaf: leaf is None)
    levels = _levels(process, schedule, steps, adaptive)
    solver = _fit_solver(process, solver, adaptive, rtol, atol)
    if type(_predictor(solver)) is Restart and isinstance(levels, np.ndarray):
        _predictor(solver).check_crossings(levels)
    if final not in ("tweedie", "none"):
        raise ValueError(f"final must be 'tweedie' or 'none', got {final!r}")
    if save < 0 or save == 1:
        raise ValueError(f"save must be 0 or at least 2 states, got {save}")
    if x_init is not None and x_init.shape != tuple(shape):
        raise ValueError(f"x_init must have the shape of the samples {tuple(shape)}, got {x_init.shape}")
    if constraint is not None:
        solver = _with_constraint(solver, constraint)
    return _solve(
        per_example_keys(key, shape[0]),
        process,
        jnp.asarray(levels, jnp.result_type(float)),
        x_init,
        solver,
        controller(rtol=rtol, atol=atol) if adaptive else None,
        noise,
        diffrax.ForwardMode() if adjoint is None else adjoint,
        diffrax.NoProgressMeter() if progress_meter is None else progress_meter,
        tuple(shape),
        final,
        save,
        max_steps,
    )


@eqx.filter_jit
def _solve(keys, process, levels, x_init, solver, controller, noise, adjoint, meter, shape, final, save, max_steps):
    sde = process.sde
    streams = jax.vmap(lambda key: jax.random.split(key, 5))(keys)
    prior_keys, path_keys, corrector_keys, constraint_keys, solver_keys = (streams[:, i] for i in range(5))
    if x_init is None:
        # The prior in canonical coordinates; s_max up to the published rounding of the prior's scale.
        spread = levels[0] * sde.prior_std / sde.sigma(sde.t_max)
        xbar = spread * noise(prior_keys, 0, shape)
    else:
        xbar = x_init / sde.alpha(sde.t(levels[0]))

    # A ReverseSDE's terms run forward in minus its clock.
    clock = process.clock(levels) * (-1 if isinstance(process, ReverseSDE) else 1)
    path = None
    if isinstance(process, ReverseSDE):
        area = _levy_area(solver)
        if controller is None:
            path = StepNoise(clock, path_keys, noise, shape, area)
        else:
            # Finer than the smallest step: 2**-20 of the whole is about what float32 resolves of the clock.
            path = BrownianTree(clock[0], clock[-1], 2**-20 * (clock[-1] - clock[0]), path_keys, shape, area)
    saveat = diffrax.SaveAt(t1=True)
    if save:
        if controller is None:
            kept = clock[np.round(np.linspace(0, len(levels) - 1, save)).astype(int)]
        else:
            kept = jnp.linspace(clock[0], clock[-1], save)
        saveat = diffrax.SaveAt(subs=(diffrax.SubSaveAt(t1=True), diffrax.SubSaveAt(ts=kept)))
    solution = diffrax.diffeqsolve(
        process.terms(path),
        solver,
        t0=clock[0],
        t1=clock[-1],
        # Left alone, diffrax would start with a step of 0.01 whatever the clock's scale.
        dt0=None if controller is None else 0.01 * (clock[-1] - clock[0]),
        y0=xbar * process.scale(levels[0]),
        args=Context(process, corrector_keys, constraint_keys, solver_keys),
        stepsize_controller=diffrax.StepTo(clock) if controller is None else controller,
        saveat=saveat,
        adjoint=adjoint,
        max_steps=len(levels) - 1 if controller is None else max_steps,
        progress_meter=meter,
    )
    y = (solution.ys[0] if save else solution.ys)[-1]
    xbar = y / process.scale(levels[-1])
    nfe = evaluations(solver, solution.stats["num_steps"])
    if final == "tweedie":
        xbar = process.denoised(levels[-1], xbar)
        nfe = None if nfe is None else nfe + 1
    return Samples(xbar, nfe, _trajectory(process, kept, solution.ys[1]) if save else None)


def _trajectory(process: AbstractProcess, clock: Array, ys: Array) -> Trajectory:
    s = process.level(jnp.abs(clock))
    xbar = ys / expand(process.scale(s), ys)
    denoised = jax.lax.map(lambda pair: process.denoised(*pair), (s, xbar))
    return Trajectory(s, xbar * expand(process.sde.alpha(process.sde.t(s)), xbar), denoised)


def evaluations(solver: diffrax.AbstractSolver, steps: Array) -> Array | None:
    """Count the evaluations of the score function from the number of steps."""
    if type(solver) in (PredictorCorrector, Restart):
        inner_steps = steps + (solver.extra_steps if type(solver) is Restart else 0)
        # The inner solver is told that the state jumped, so it evaluates its first stage anew each step.
        stages = None if type(solver.solver) is Restart else _stages(solver.solver)
        inner = evaluations(solver.solver, inner_steps) if stages is None else stages * inner_steps
        corrector = solver.corrector if type(solver) is PredictorCorrector else None
        return None if inner is None else inner + (0 if corrector is None else corrector.steps) * steps
    if isinstance(solver, AbstractFlowSolver | AbstractNoiseSolver):
        return solver.evaluations(steps)
    if isinstance(solver, GottaGoFast):
        return steps * solver.evaluations_per_step
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
    return solver.tableau.num_stages if isinstance(solver, diffrax.AbstractERK) else None


def _is_fsal(solver: diffrax.AbstractSolver) -> bool:
    return isinstance(solver, diffrax.AbstractERK) and solver.tableau.fsal


def _predictor(solver: diffrax.AbstractSolver) -> diffrax.AbstractSolver:
    return solver.solver if type(solver) is PredictorCorrector else solver


def _levy_area(solver: diffrax.AbstractSolver) -> type:
    """Return the Brownian increment to give the solver: with the space-time Levy area if it asks for that."""
    inner = _predictor(solver)
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


def _levels(process: AbstractProcess, schedule, steps: int | None, adaptive: bool):
    """Return the noise levels of the steps, or the two ends of an adaptive solve, checked."""
    low, high = level_range(process.sde)
    if adaptive and steps is not None:
        raise ValueError(f"give either steps or tolerances, got steps={steps} and rtol or atol")
    if schedule is None or callable(schedule):
        if adaptive:
            return np.array([high, low])
        if steps is None:
            raise ValueError("say where the steps are: steps=..., schedule=... or rtol=..., atol=...")
        schedule = (karras if schedule is None else schedule)(process.sde, steps)
    elif steps is not None and steps != len(schedule) - 1:
        raise ValueError(f"steps={steps} contradicts a schedule of {len(schedule) - 1} steps")
    if isinstance(schedule, jax.core.Tracer):
        return schedule[jnp.array([0, -1])] if adaptive else schedule
    s = np.asarray(schedule)
    if s.ndim != 1 or len(s) < 2 or not np.all(np.diff(s) < 0):
        raise ValueError(f"schedule must be at least two decreasing noise levels, got {s}")
    if s[0] > high * (1 + 1e-5) or s[-1] < 0:
        raise ValueError(f"schedule must lie between 0 and the SDE's largest level {high:g}, got {s[0]} to {s[-1]}")
    return s[[0, -1]] if adaptive else s


def _fit_solver(process: AbstractProcess, solver, adaptive: bool, rtol, atol) -> diffrax.AbstractSolver:
    """Return the solver to use, or say why the one given cannot serve."""
    stochastic = isinstance(process, ReverseSDE)
    if adaptive:
        if rtol is None or atol is None or not (rtol > 0 and atol > 0):
            raise ValueError(f"adaptive steps need rtol > 0 and atol > 0, got rtol={rtol}, atol={atol}")
        fitting = diffrax.ShARK() if stochastic else diffrax.Tsit5()
        solver = fitting if solver is None else solver
        inner = _predictor(solver)
        if not _has_error_estimate(inner):
            raise ValueError(
                f"adaptive steps need a solver with an error estimate such as diffrax.{type(fitting).__name__}(), got "
                f"{type(inner).__name__}; give it steps or a schedule"
            )
    if solver is None:
        if stochastic:
            solver = diffrax.Euler()
        else:
            solver = DPMSolverPP() if isinstance(process.coordinates, NoiseLevel) else diffrax.Heun()
    inner = _predictor(solver)
    canonical = isinstance(process, ProbabilityFlow) and isinstance(process.coordinates, NoiseLevel)
    if isinstance(inner, AbstractFlowSolver | Restart) and not canonical:
        raise ValueError(
            f"{type(inner).__name__} integrates a ProbabilityFlow in the chart NoiseLevel, got a "
            f"{type(process).__name__}{'' if stochastic else f' in the chart {type(process.coordinates).__name__}'}; "
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


def _with_constraint(solver: diffrax.AbstractSolver, constraint: Constraint) -> PredictorCorrector:
    if type(solver) is PredictorCorrector:
        return PredictorCorrector(solver.solver, solver.corrector, constraint)
    return PredictorCorrector(solver, None, constraint)
