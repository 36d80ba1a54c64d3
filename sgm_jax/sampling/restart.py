"""Restart sampling: go back up to a higher noise level with fresh noise, and integrate the flow down again."""

from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array
from numpy.typing import NDArray

from sgm_jax.sampling.abstract import AbstractWrapper
from sgm_jax.sampling.noise import NoiseSource, per_example_noise


class RestartInterval(NamedTuple):
    """Where to restart: once a step reaches `s_min` or below, go up to `s_max` and down again, `repeats` times.

    Args:
        s_min: noise level whose crossing triggers the restarts, in data units.
        s_max: noise level they go up to, in data units.
        steps: steps on each way down.
        repeats: how often.
    """

    s_min: float
    s_max: float
    steps: int
    repeats: int


class Restart(AbstractWrapper):
    """Wrap a solver of `ProbabilityFlow` in the chart `NoiseLevel`: restarts after the steps that cross given levels.

    A restart from the level `s1` just reached adds `sqrt(s_max**2 - s1**2) z` and takes `steps` steps of the solver
    back to `s1`, spaced as Karras's. Each interval adds `repeats * steps` steps to the schedule's. Solvers with a
    memory begin anew in and after each restart.

    Args:
        solver: any solver of the flow; published: Heun's method.
        intervals: where to restart.
        source: noise source; restarts draw from it in order, the intervals as given.

    Raises:
        ValueError: if there is no interval, or one is empty or has no steps or repeats.

    References:
        Xu et al., Restart Sampling for Improving Generative Processes, 2023, section 3.
    """

    solver: diffrax.AbstractSolver
    intervals: tuple[RestartInterval, ...]
    source: NoiseSource = per_example_noise

    def __check_init__(self):
        if not self.intervals:
            raise ValueError("intervals must hold at least one RestartInterval, got none")
        for interval in self.intervals:
            if not 0 <= interval.s_min < interval.s_max:
                raise ValueError(f"intervals must satisfy 0 <= s_min < s_max, got {interval}")
            if interval.steps < 1 or interval.repeats < 1:
                raise ValueError(f"intervals must have at least one step and one repeat, got {interval}")

    @property
    def extra_steps(self) -> int:
        """Steps of the solver that the restarts add."""
        return sum(interval.steps * interval.repeats for interval in self.intervals)

    def check_crossings(self, levels: NDArray) -> None:
        """Check that a schedule crosses every interval's `s_min`.

        Raises:
            ValueError: if it does not, so that there would be fewer steps than counted.
        """
        for interval in self.intervals:
            if not levels[-1] <= interval.s_min < levels[0]:
                raise ValueError(
                    f"intervals must have s_min within the schedule, from {levels[-1]:g} to below {levels[0]:g}, got "
                    f"{interval}"
                )

    def init(self, terms, t0, t1, y0, args):
        return self.solver.init(terms, t0, t1, y0, args)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        # A restart moves the state, so the solver must not reuse an evaluation from before it.
        y, _, _, state, result = self.solver.step(terms, t0, t1, y0, args, solver_state, True)
        drawn = 0
        for interval in self.intervals:
            crossed = (jnp.abs(t1) <= interval.s_min) & (interval.s_min < jnp.abs(t0))
            y, state = jax.lax.cond(
                crossed,
                lambda y, state, interval=interval, drawn=drawn: self._restart(
                    interval, drawn, terms, jnp.sign(t0), jnp.abs(t1), y, args
                ),
                lambda y, state: (y, state),
                y,
                state,
            )
            drawn += interval.repeats
        return y, None, dict(y0=y0, y1=y), state, result

    def _restart(self, interval: RestartInterval, drawn: int, terms, sign: Array, s: Array, y, args):
        """Go up and down as often as the interval says; return the state and a solver state that knows nothing."""
        ramp = jnp.linspace(0, 1, interval.steps + 1, dtype=s.dtype)
        times = (interval.s_max ** (1 / 7) * (1 - ramp) + s ** (1 / 7) * ramp) ** 7
        # Both ends exactly, whatever the rounding of the powers.
        times = sign * times.at[0].set(interval.s_max).at[-1].set(s)
        rise = jnp.sqrt(interval.s_max**2 - s**2).astype(y.dtype)
        fresh = lambda y: self.solver.init(terms, times[0], times[1], y, args)

        def step(i, carry):
            return self.solver.step(terms, times[i], times[i + 1], carry[0], args, carry[1], True)[0:4:3]

        def repeat(k, y):
            y = y + rise * self.source(args.solver_keys, drawn + k, y.shape)
            return jax.lax.fori_loop(0, interval.steps, step, (y, fresh(y)))[0]

        y = jax.lax.fori_loop(0, interval.repeats, repeat, y)
        return y, fresh(y)
