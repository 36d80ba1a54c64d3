"""Solve inverse problems: samples of the data given measurements, by any method."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from sgm_jax.inverse.checks import check_finite, check_kind
from sgm_jax.inverse.measurement import Measurement, Stacked
from sgm_jax.inverse.method import AbstractMethod, AbstractTransition
from sgm_jax.inverse.operator import AbstractOperator
from sgm_jax.inverse.twisted import TwistedDiffusion
from sgm_jax.sampling import AbstractProcess, ReverseSDE, sample
from sgm_jax.sampling.schedules import Schedule
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import PRNGKey, PRNGKeys, ScoreFn


class Solutions(eqx.Module):
    """What `solve` returns.

    Args:
        x: samples in data units [n, b, *shape].
        mean: their mean for each measurement [b, *shape].
        std: their standard deviation in each coordinate [b, *shape]; 0 for one sample.
        residual: how far each sample is from its measurement, `|y - A x| / |y|` [n, b]; `|y - A x|` where `y` is 0.
        nfe: evaluations of the score function for each sample (scalar integer), or None if they cannot be counted.
    """

    x: Float[Array, "n b ..."]
    mean: Float[Array, "b ..."]
    std: Float[Array, "b ..."]
    residual: Float[Array, "n b"]
    nfe: Array | None


def solve(
    key: PRNGKey | PRNGKeys,
    sde: AbstractSDE,
    score_fn: ScoreFn,
    operator: AbstractOperator | Stacked,
    y: Array | np.ndarray,
    *,
    method: AbstractMethod,
    samples: int = 1,
    process: Callable[[AbstractSDE, ScoreFn], AbstractProcess] | None = None,
    solver: diffrax.AbstractSolver | None = None,
    schedule: Schedule | Array | np.ndarray | None = None,
    **options,
) -> Solutions:
    """Sample data given measurements, with a score model that knows nothing of them.

    Samples are drawn as one batch [n b], in the order of `Solutions.x`: what `score_fn` holds for each example, such as
    labels, must be repeated as `jnp.tile(label, samples)`.

    Args:
        key: one PRNG key, or one a sample [n b].
        sde: the forward SDE.
        score_fn: `score_fn(t, x)` of unconditional data.
        operator: what measured; one for all, or `stack` of one each.
        y: measurements [b, *measured]; entries that are never recorded are ignored.
        method: how; `docs/inverse.md` says which for what.
        samples: number `n` of samples for each measurement.
        process: `ReverseSDE`, `ProbabilityFlow` or any `(sde, score_fn) -> process`; `ReverseSDE` unless given.
        solver: as in `sample`. Unless given the method's own, or with another process `sample`'s.
        schedule: as in `sample`; the method's unless given.
        **options: further options of `sample`: `steps`, or `rtol` and `atol`, `x_init` [n b, *shape], `noise`, ... A
            `mesh` splits the samples, each device having some of every measurement.

    Returns:
        `Solutions`.

    Raises:
        ValueError: if measurements are not the operator's, or not finite, the method does not suit the operator or the
            solver, the mesh's devices do not divide the samples, or as `sample` does.
    """
    measurement = Measurement(operator, jnp.asarray(y))
    one = operator.operators if isinstance(operator, Stacked) else operator
    _check(measurement, method, samples)
    if isinstance(method, AbstractTransition | TwistedDiffusion) and not (process is None and solver is None):
        raise ValueError(f"{type(method).__name__} has steps of its own: leave process and solver out")
    mesh = options.get("mesh")
    if mesh is not None and samples % mesh.size:
        raise ValueError(f"samples must be a multiple of the mesh's {mesh.size} devices, got {samples}")
    # As an array it may change without compiling anew.
    noise_std = jnp.asarray(one.noise_std, jnp.result_type(float))
    where = lambda m: m.operator.operators.noise_std if isinstance(operator, Stacked) else m.operator.noise_std
    measurement = eqx.tree_at(where, measurement, noise_std)
    measurement = Measurement(measurement.operator, measurement.map(lambda operator, y: operator.record(y)))
    if solver is None and process is None:
        solver = method.solver(measurement)
    given: dict[str, Any] = {"final": method.final} | options
    drawn = sample(
        key,
        (ReverseSDE if process is None else process)(sde, method.condition(sde, score_fn, measurement)),
        (samples * len(y), *one.shape),
        solver=solver,
        schedule=method.schedule if schedule is None else schedule,
        constraint=method.constraint(sde, measurement),
        **given,
    )
    return _summarise(method, measurement, drawn.x, drawn.nfe)


@eqx.filter_jit
def _summarise(method: AbstractMethod, measurement: Measurement, x: Array, nfe: Array | None) -> Solutions:
    def finish(operator, y, x):
        x = method.finish(operator, y, x)
        off, size = (jnp.linalg.norm(a.ravel()) for a in (y - operator.forward(x), y))
        return x, off / jnp.where(size > 0, size, 1.0)

    x, residual = measurement.map(finish, x)
    count = len(measurement.y)
    x, residual = x.reshape(-1, count, *x.shape[1:]), residual.reshape(-1, count)
    return Solutions(x, jnp.mean(x, 0), jnp.std(x, 0), residual, nfe)


def _check(measurement: Measurement, method: AbstractMethod, samples: int) -> None:
    """Refuse what cannot be solved, before anything is computed."""
    operator, y = measurement.operator, measurement.y
    if isinstance(operator, Stacked):
        operator = operator.operators
        count = {len(leaf) for leaf in jax.tree.leaves(eqx.filter(operator, eqx.is_array))}
        if count != {len(y)}:
            raise ValueError(f"operator must hold one operator a measurement ({len(y)}), got {sorted(count)}")
        expected = eqx.filter_eval_shape(eqx.filter_vmap(lambda o: o.forward(jnp.zeros(o.shape))), operator)
        expected = jax.ShapeDtypeStruct(expected.shape[1:], expected.dtype)
    else:
        expected = operator.measured
    if not isinstance(operator, method.needs):
        raise ValueError(
            f"{type(method).__name__} needs a {method.needs.__name__.removeprefix('Abstract').lower()} operator, got "
            f"{type(operator).__name__}"
        )
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    if y.shape[1:] != expected.shape or not len(y):
        raise ValueError(f"y must have the shape [b, {', '.join(map(str, expected.shape))}], got {y.shape}")
    check_kind(y, expected)
    if isinstance(y, Tracer) or isinstance(operator.noise_std, Tracer):
        return
    if not np.all(np.asarray(operator.noise_std) >= 0):
        raise ValueError(f"noise_std must be at least 0, got {operator.noise_std}")
    check_finite(measurement.map(lambda operator, y: operator.record(y)))
