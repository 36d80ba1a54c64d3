"""The loop over the steps of a known schedule.

`diffrax.diffeqsolve` takes such steps too, with machinery for controllers, events and dense output that costs
microseconds a step and more time to compile than a small network. Here any of its explicit solvers runs without.
"""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from sgm_jax.sampling.corrector import Context
from sgm_jax.shapes import Batch


def take_steps(
    terms: diffrax.AbstractTerm,
    solver: diffrax.AbstractSolver,
    clock: Float[Array, " n"],
    y: Batch,
    args: Context,
    saved: NDArray,
    meter: diffrax.AbstractProgressMeter,
) -> tuple[Batch, Float[Array, "k b ..."]]:
    """Step along the clock; return the last state and those after the steps that are to be saved.

    Args:
        terms: what is integrated.
        solver: any explicit diffrax solver.
        clock: where the steps begin and end [steps + 1].
        y: the state at the start [b, ...].
        args: what the solver may need beyond the terms.
        saved: for each state to save the number of steps before it, not decreasing [k].
        meter: progress meter.

    Raises:
        EquinoxRuntimeError: if the solver says that a step failed.
    """
    if isinstance(solver, diffrax.AbstractRungeKutta | diffrax.AbstractSRK):
        # The loop over their stages; diffrax sets this field on its own way into a solve.
        solver = eqx.tree_at(lambda s: s.scan_kind, solver, "lax", is_leaf=lambda leaf: leaf is None)
    y = y.astype(jnp.result_type(y, clock))
    steps, successful = len(clock) - 1, diffrax.RESULTS.successful
    kept, order = np.unique(saved, return_inverse=True)
    slot = np.full(steps + 1, len(kept))
    slot[kept] = np.arange(len(kept))
    slot = jnp.asarray(slot)

    def save(states, i, y):
        # States without a slot are dropped.
        return states.at[slot[i]].set(y, mode="drop") if len(kept) else states

    def attempt(t0, t1, y, state):
        return solver.step(terms, t0, t1, y, args, state, False)

    def step(i, carry):
        y, state, states, progress, result = carry
        y, _, _, state, outcome = attempt(clock[i], clock[i + 1], y, state)
        # The first failure counts.
        result = diffrax.RESULTS.where(result == successful, outcome, result) if may_fail else result
        return y, state, save(states, i + 1, y), meter.step(progress, (i + 1) / steps), result

    state = solver.init(terms, clock[0], clock[1], y, args)
    states = save(jnp.zeros((len(kept), *y.shape), y.dtype), 0, y)
    # Most solvers never fail, which is known without running them.
    may_fail = eqx.filter_eval_shape(lambda *step: attempt(*step)[-1].is_traced(), clock[0], clock[1], y, state)
    start = y, state, states, meter.init(), successful
    y, _, states, progress, result = jax.lax.fori_loop(0, steps, step, start)
    meter.close(progress)
    if may_fail:
        y = result.error_if(y, result != successful)
    return y, states[order]
