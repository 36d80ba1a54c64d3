"""Step schedules: where the steps are, as canonical noise levels from large to small.

A schedule is a function `(sde, steps) -> s` [steps + 1] in float64 on the host, or simply such an array.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array
from numpy.typing import NDArray

from sgm_jax.sde import AbstractSDE

Schedule = Callable[[AbstractSDE, int], NDArray]
Spacing = Callable[[int, int], NDArray]


def _check_steps(steps: int) -> None:
    if not isinstance(steps, int | np.integer) or steps < 1:
        raise ValueError(f"steps must be an integer of at least 1, got {steps}")


def _levels(sde: AbstractSDE, t) -> NDArray:
    """Evaluate `s(t)` in float64, whatever precision the computation around runs in."""
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        return np.asarray(sde.s(jnp.asarray(t, jnp.float64)), np.float64)


def level_range(sde: AbstractSDE) -> tuple[float, float]:
    """Return the smallest and largest canonical noise level of the SDE.

    Raises:
        ValueError: if they are none, as of a `LinearSDE` whose `sigma / alpha` falls.
    """
    low, high = _levels(sde, [sde.t_min, sde.t_max])
    if not 0 <= low < high:
        raise ValueError(
            f"sigma / alpha of {type(sde).__name__} must rise from t_min={sde.t_min} to t_max={sde.t_max}, got {low:g} "
            f"to {high:g}"
        )
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


def quadratic_time(sde: AbstractSDE, steps: int) -> NDArray:
    """Space the steps evenly in the square root of the SDE's own time, so that they crowd towards the data.

    References:
        Song et al., Denoising Diffusion Implicit Models, 2020, appendix D.2.
    """
    _check_steps(steps)
    return _levels(sde, np.linspace(sde.t_max**0.5, sde.t_min**0.5, steps + 1) ** 2)


def uniform_angle(sde: AbstractSDE, steps: int, *, data_scale: float = 1.0) -> NDArray:
    """Space the steps evenly in the clock of the chart `Angle`, `arctan(s / data_scale)`."""
    _check_steps(steps)
    if not data_scale > 0:
        raise ValueError(f"data_scale must be > 0, got {data_scale}")
    low, high = level_range(sde)
    return data_scale * np.tan(np.linspace(np.arctan(high / data_scale), np.arctan(low / data_scale), steps + 1))


# Spacings: (points, count) -> the indices, increasing, of `count` points out of a table of `points`.


def leading(points: int, count: int) -> NDArray:
    """Take every `points // count`-th point from the first on; what DDIM published."""
    return np.arange(count) * (points // count)


def linspace(points: int, count: int) -> NDArray:
    """Take `count` points evenly from the first to the last, both included."""
    return np.round(np.linspace(0, points - 1, count)).astype(int)


def trailing(points: int, count: int) -> NDArray:
    """Take `count` points evenly from the last on, so that the noisiest is always in.

    References:
        Lin et al., Common Diffusion Noise Schedules and Sample Steps are Flawed, 2024, table 2.
    """
    return np.round(np.arange(points, 0, -points / count)).astype(int)[::-1] - 1


def _subgrid(table: NDArray, steps: int, spacing: Spacing) -> NDArray:
    _check_steps(steps)
    if steps + 1 > len(table):
        raise ValueError(f"steps must be at most {len(table) - 1}, one fewer than the table's points, got {steps}")
    return table[spacing(len(table), steps + 1)][::-1]


@runtime_checkable
class Rates(Protocol):
    """What has the noise rates of a variance-preserving SDE."""

    beta_min: float
    beta_max: float


@runtime_checkable
class Levels(Protocol):
    """What has the outermost noise levels of a variance-exploding SDE."""

    sigma_min: float
    sigma_max: float


def discrete_vp(sde: AbstractSDE, steps: int, *, points: int = 1000, spacing: Spacing = leading) -> NDArray:
    """Take `steps + 1` of the levels of the discretised VP process, that of DDPM for the rates 0.1 and 20.

    `s_i**2 = 1 / prod_{j <= i} (1 - beta_j) - 1`, the `beta_j` evenly from `beta_min / points` to
    `beta_max / points`. With the final denoising the samplers evaluate at just these levels. The table's noisiest
    levels (157 for DDPM) lie above the largest of `VP()` (152), as the product lies below its exponential: use
    `VP(t_max=1.004)` with the spacings `linspace` and `trailing`.

    Args:
        sde: an SDE with the rates `beta_min` and `beta_max`.
        steps: number of steps, fewer than `points`.
        points: number of levels in the table.
        spacing: which of them to take: `leading`, `linspace` or `trailing`.

    Raises:
        ValueError: if the SDE has no such rates, or `steps` is out of range.

    References:
        Ho et al., Denoising Diffusion Probabilistic Models, 2020, section 4.
    """
    if not isinstance(sde, Rates):
        raise ValueError(f"sde must have the rates beta_min and beta_max, like VP, got {type(sde).__name__}")
    betas = np.linspace(sde.beta_min / points, sde.beta_max / points, points)
    return _subgrid(np.sqrt(np.expm1(-np.cumsum(np.log1p(-betas)))), steps, spacing)


def discrete_ve(sde: AbstractSDE, steps: int, *, points: int = 1000, spacing: Spacing = linspace) -> NDArray:
    """Take `steps + 1` of the `points` geometric levels of the discretised VE process.

    Args:
        sde: an SDE with the levels `sigma_min` and `sigma_max`.
        steps: number of steps, fewer than `points`.
        points: number of levels in the table.
        spacing: which of them to take: `leading`, `linspace` or `trailing`.

    Raises:
        ValueError: if the SDE has no such levels, or `steps` is out of range.

    References:
        Song and Ermon, Generative Modeling by Estimating Gradients of the Data Distribution, 2019, section 4.
    """
    if not isinstance(sde, Levels):
        raise ValueError(f"sde must have the levels sigma_min and sigma_max, like VE, got {type(sde).__name__}")
    return _subgrid(np.geomspace(sde.sigma_min, sde.sigma_max, points), steps, spacing)


def then_zero(schedule: Schedule) -> Schedule:
    """Return `schedule` with one step fewer and then a last step to zero noise, to be used with `final="none"`.

    Solvers that keep their order down to zero (`ExponentialAdams` in the variable `SoftLog`) then spend the evaluation
    of the final denoising on one more step. End the schedule well above the smallest noise, near the scale of the
    data's finest detail: `then_zero(functools.partial(karras, s_min=0.1))`.
    """

    def ended(sde: AbstractSDE, steps: int) -> NDArray:
        _check_steps(steps)
        if steps == 1:
            return np.array([level_range(sde)[1], 0.0])
        return np.append(schedule(sde, steps - 1), 0.0)

    return ended


def resolve_levels(
    sde: AbstractSDE, schedule: Schedule | Array | NDArray | None, steps: int | None, adaptive: bool = False
) -> Array | NDArray:
    """Return the noise levels of the steps [steps + 1], or the two ends of an adaptive solve.

    Raises:
        ValueError: if there is neither a schedule nor a number of steps, they contradict each other, or the levels do
            not decrease or leave the SDE's range.
    """
    low, high = level_range(sde)
    if isinstance(schedule, str):
        raise ValueError(f"schedule must be a function (sde, steps) -> s, such as karras, or levels, got {schedule!r}")
    if adaptive and steps is not None:
        raise ValueError(f"give either steps or tolerances, got steps={steps} and rtol or atol")
    if schedule is None or callable(schedule):
        if adaptive:
            return np.array([high, low])
        if steps is None:
            raise ValueError("say where the steps are: steps=..., schedule=... or rtol=..., atol=...")
        schedule = (karras if schedule is None else schedule)(sde, steps)
    elif steps is not None and steps != len(schedule) - 1:
        raise ValueError(f"steps={steps} contradicts a schedule of {len(schedule) - 1} steps")
    if isinstance(schedule, Tracer):
        if adaptive:
            return schedule[jnp.array([0, -1])]
        return eqx.error_if(schedule, jnp.diff(schedule) >= 0, "schedule must be decreasing noise levels")
    s = np.asarray(schedule)
    if s.ndim != 1 or len(s) < 2 or not np.all(np.diff(s) < 0):
        raise ValueError(f"schedule must be at least two decreasing noise levels, got {s}")
    if s[0] > high * (1 + 1e-5) or s[-1] < 0:
        raise ValueError(f"schedule must lie between 0 and the SDE's largest level {high:g}, got {s[0]} to {s[-1]}")
    return s[[0, -1]] if adaptive else s
