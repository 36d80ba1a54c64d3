"""Step schedules: where the steps are, as canonical noise levels from large to small.

A schedule is a function `(sde, steps) -> s` [steps + 1] in float64 on the host, or simply such an array.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from sgm_jax.sde import AbstractSDE

Schedule = Callable[[AbstractSDE, int], NDArray]


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")


def _levels(sde: AbstractSDE, t) -> NDArray:
    """Evaluate `s(t)` in float64, whatever precision the computation around runs in."""
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        return np.asarray(sde.s(jnp.asarray(t, jnp.float64)), np.float64)


def level_range(sde: AbstractSDE) -> tuple[float, float]:
    """Return the smallest and largest canonical noise level of the SDE."""
    low, high = _levels(sde, [sde.t_min, sde.t_max])
    return float(low), float(high)


def uniform_time(sde: AbstractSDE, steps: int, *, t_min: float | None = None) -> NDArray:
    """Space the steps evenly in the SDE's own time, from `t_max` to `t_min` (the SDE's unless given).

    References:
        Song et al., 2021, appendix G.
    """
    _check_steps(steps)
    return _levels(sde, np.linspace(sde.t_max, sde.t_min if t_min is None else t_min, steps + 1))


def uniform_log_snr(sde: AbstractSDE, steps: int) -> NDArray:
    """Space the steps evenly in the logarithm of the noise level."""
    _check_steps(steps)
    low, high = level_range(sde)
    return np.geomspace(high, low, steps + 1)


def karras(
    sde: AbstractSDE, steps: int, *, rho: float = 7.0, s_min: float | None = None, s_max: float | None = None
) -> NDArray:
    """Space the steps evenly in `s**(1 / rho)`, between the SDE's ends unless `s_min`, `s_max` are given.

    References:
        Karras et al., 2022, eq. 5.
    """
    _check_steps(steps)
    low, high = level_range(sde)
    low, high = low if s_min is None else s_min, high if s_max is None else s_max
    return np.linspace(high ** (1 / rho), low ** (1 / rho), steps + 1) ** rho
