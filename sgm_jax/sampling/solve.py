"""Draw samples: any process, any diffrax solver, fixed or adaptive steps."""

from collections.abc import Callable
from typing import Any, cast

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from sgm_jax.sampling.charts import Angle, Hyperbolic
from sgm_jax.sampling.corrector import Constraint, Context
from sgm_jax.sampling.loop import take_steps
from sgm_jax.sampling.noise import BrownianTree, NoiseSource, StepNoise, per_example_noise
from sgm_jax.sampling.processes import AbstractProcess, ReverseSDE
from sgm_jax.sampling.restart import Restart
from sgm_jax.sampling.schedules import Schedule, resolve_levels
from sgm_jax.sampling.solvers import evaluations, fit_solver, levy_area, predictor, with_constraint
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, Level, PRNGKey, PRNGKeys, expand, per_example_keys


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
    mesh: Mesh | None = None,
) -> Samples:
    """Draw samples by integrating a process from noise to data.

    Fixed steps: give `steps` (and a schedule other than the default, if wanted) or an array of noise levels as
    `schedule`. Adaptive steps: give `rtol` and `atol`. They are the same for the whole batch; for steps of its own for
    each example, map over batches of one: `jax.vmap(lambda key: sample(key[None], process, (1, ...), ...).x[0])(keys)`.

    On a `mesh` each device solves its part of the batch on its own, and the samples come back split over the devices.
    Fixed steps then give the very samples that one device gives for the same key, without communication. What couples
    a batch couples each device's part alone: adaptive steps, of which each device takes its own, and
    `batch_mean_step`. Score functions, constraints and noise sources are called with a device's part, so they must not
    hold arrays as long as the whole batch.

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
        adjoint: how to differentiate through the sampler; forward mode unless given. Use `diffrax.DirectAdjoint()` or
            `diffrax.RecursiveCheckpointAdjoint()` for `jax.grad`, on a mesh the former. With an adjoint
            `diffrax.diffeqsolve` takes fixed steps too, which otherwise go in a plain loop that compiles faster.
        progress_meter: a diffrax progress meter for long runs.
        max_steps: limit on adaptive steps.
        mesh: the devices to split the batch over, along all of the mesh's axes; the parameters are replicated.

    Returns:
        `Samples(x, nfe, trajectory)`; `nfe` is the largest of the devices'.

    Raises:
        ValueError: if steps, schedule or tolerances are missing, contradict each other or are out of range, the
            solver does not fit the process, the scores are not of the samples' shape, or the devices do not divide
            the batch.
    """
    if not isinstance(process, AbstractProcess):
        raise ValueError(
            f"process must be a ProbabilityFlow or ReverseSDE of (sde, score_fn), got a {type(process).__name__}"
        )
    if not isinstance(shape, tuple | list) or not shape:
        raise ValueError(f"shape must be that of all samples, a tuple (b, ...), got {shape!r}")
    adaptive = rtol is not None or atol is not None
    if adaptive and process.chart is None:
        chart = Hyperbolic() if isinstance(process, ReverseSDE) else Angle()
        process = eqx.tree_at(lambda p: p.chart, process, chart, is_leaf=lambda leaf: leaf is None)
    levels = resolve_levels(process.sde, schedule, steps, adaptive)
    solver = fit_solver(process, solver, rtol, atol)
    inner = predictor(solver)
    if type(inner) is Restart and isinstance(levels, np.ndarray):
        inner.check_crossings(levels)
    if final not in ("tweedie", "none"):
        raise ValueError(f"final must be 'tweedie' or 'none', got {final!r}")
    if save < 0 or save == 1:
        raise ValueError(f"save must be 0 or at least 2 states, got {save}")
    if constraint is not None:
        solver = with_constraint(solver, constraint)
    devices = 1 if mesh is None else mesh.size
    if shape[0] % devices:
        raise ValueError(
            f"shape must have a batch that the mesh's devices divide, got a batch of {shape[0]} for {devices} devices"
        )
    return _solve(
        mesh,
        per_example_keys(key, shape[0]),
        x_init,
        controller(rtol=rtol, atol=atol) if adaptive else None,
        save,
        process,
        jnp.asarray(levels, jnp.result_type(float)),
        solver,
        noise,
        adjoint,
        diffrax.NoProgressMeter() if progress_meter is None else progress_meter,
        (shape[0] // devices, *shape[1:]),
        final,
        max_steps,
    )


def start(
    sde: AbstractSDE,
    keys: PRNGKeys,
    s: Level,
    x_init: Array | None,
    shape: tuple[int, ...],
    noise: NoiseSource = per_example_noise,
) -> Batch:
    """Return where sampling starts, as `x / alpha` [shape]: `x_init` at the noise level `s`, or a draw from the prior.

    Raises:
        ValueError: if `x_init`, or the noise that the source gives, has another shape.
    """
    given = noise(keys, 0, shape) if x_init is None else x_init
    if given.shape != shape:
        name = "noise" if x_init is None else "x_init"
        raise ValueError(f"{name} must have the shape of the samples {shape}, got {given.shape}")
    if x_init is None:
        # The prior in canonical coordinates; s_max up to the published rounding of the prior's scale.
        return jnp.asarray(s * sde.prior_std / sde.sigma(sde.t_max) * given)
    return given / sde.alpha(sde.t(s))


def streams(keys: PRNGKeys) -> tuple[PRNGKeys, ...]:
    """Split each example's key into those of prior, path, corrector, constraint and solver."""
    split = jax.vmap(lambda key: jax.random.split(key, 5))(keys)
    return tuple(split[:, i] for i in range(5))


@eqx.filter_jit
def _solve(mesh, keys, x_init, controller, save, *problem) -> Samples:
    """Solve for the whole batch, or let each device of the mesh solve for its part of it."""
    problem = (controller, save, *problem)
    if mesh is None:
        return _integrate(keys, x_init, *problem)
    arrays, rest = eqx.partition(problem, eqx.is_array)

    def part(keys, x_init, arrays):
        samples = _integrate(keys, x_init, *eqx.combine(arrays, rest))
        path, nfe = samples.trajectory, samples.nfe
        if controller is not None and nfe is not None:
            nfe = jax.lax.pmax(nfe, mesh.axis_names)
        return samples.x, nfe, None if path is None else (path.s, path.xt, path.denoised)

    whole, split, along = PartitionSpec(), PartitionSpec(mesh.axis_names), PartitionSpec(None, mesh.axis_names)
    inputs, in_specs = (keys, x_init, arrays), (split, split, whole)
    if AxisType.Explicit in mesh.axis_types:
        # Along such axes JAX moves nothing unless told to.
        inputs = jax.sharding.reshard(inputs, tuple(NamedSharding(mesh, spec) for spec in in_specs))
    out_specs = (split, whole, (whole, along, along) if save else whole)
    # diffrax's loops do not pass the check of what is replicated.
    x, nfe, path = jax.shard_map(part, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)(*inputs)
    return Samples(x, nfe, None if path is None else Trajectory(*path))


def _integrate(keys, x_init, controller, save, process, levels, solver, noise, adjoint, meter, shape, final, max_steps):
    prior_keys, path_keys, corrector_keys, constraint_keys, solver_keys = streams(keys)
    # Traced once, in however many places the solver evaluates it.
    score_fn = process.score_fn
    process = eqx.tree_at(lambda p: p.score_fn, process, jax.jit(lambda t, x: score_fn(t, x)))
    xbar = start(process.sde, prior_keys, levels[0], x_init, shape, noise)
    # A ReverseSDE's terms run forward in minus its clock.
    clock = process.clock(levels) * (-1 if isinstance(process, ReverseSDE) else 1)
    path = None
    if isinstance(process, ReverseSDE):
        area = levy_area(solver)
        if controller is None:
            path = StepNoise(times=clock, keys=path_keys, source=noise, shape=shape, levy_area=area)
        else:
            # Finer than the smallest step: 2**-20 of the whole is about what float32 resolves of the clock.
            tol = 2**-20 * (clock[-1] - clock[0])
            path = BrownianTree(t0=clock[0], t1=clock[-1], tol=tol, keys=path_keys, shape=shape, levy_area=area)
    terms, y = process.terms(path), xbar * process.scale(levels[0])
    args = Context(process, corrector_keys, constraint_keys, solver_keys)
    if controller is None and adjoint is None and not isinstance(solver, diffrax.AbstractImplicitSolver):
        steps, saved = len(levels) - 1, np.round(np.linspace(0, len(levels) - 1, save)).astype(int)
        y, states = take_steps(terms, solver, clock, y, args, saved, meter)
        times = clock[saved]
    else:
        out = _diffeqsolve(terms, solver, clock, y, args, controller, save, adjoint, meter, max_steps)
        y, times, states, steps = out
    xbar = y / process.scale(levels[-1])
    nfe = evaluations(solver, jnp.asarray(steps))
    if final == "tweedie":
        xbar = process.denoised(levels[-1], xbar)
        nfe = None if nfe is None else nfe + 1
    return Samples(xbar, nfe, _trajectory(process, times, states) if save else None)


def _diffeqsolve(
    terms, solver, clock, y, args, controller, save, adjoint, meter, max_steps
) -> tuple[Array, Any, Any, Array]:
    """Return the state at the clock's end, the times and states saved if any, and the number of steps."""
    saveat, kept = diffrax.SaveAt(t1=True), None
    if save:
        if controller is None:
            kept = clock[np.round(np.linspace(0, len(clock) - 1, save)).astype(int)]
        else:
            kept = jnp.linspace(clock[0], clock[-1], save)
        saveat = diffrax.SaveAt(subs=(diffrax.SubSaveAt(t1=True), diffrax.SubSaveAt(ts=kept)))
    solution = diffrax.diffeqsolve(
        terms,
        solver,
        t0=clock[0],
        t1=clock[-1],
        # Left alone, diffrax would start with a step of 0.01 whatever the clock's scale.
        dt0=None if controller is None else 0.01 * (clock[-1] - clock[0]),
        y0=y,
        args=args,
        stepsize_controller=diffrax.StepTo(clock) if controller is None else controller,
        saveat=saveat,
        adjoint=diffrax.ForwardMode() if adjoint is None else adjoint,
        max_steps=len(clock) - 1 if controller is None else max_steps,
        progress_meter=meter,
    )
    ys = cast(Any, solution.ys)
    last, states = ys if save else (ys, None)
    return last[-1], kept, states, solution.stats["num_steps"]


def _trajectory(process: AbstractProcess, clock: Array, ys: Array) -> Trajectory:
    s = process.level(jnp.abs(clock))
    xbar = ys / expand(process.scale(s), ys)
    denoised = jax.lax.map(lambda pair: process.denoised(*pair), (s, xbar))
    return Trajectory(s, xbar * expand(process.sde.alpha(process.sde.t(s)), xbar), denoised)
