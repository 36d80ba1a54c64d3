"""Consistency functions learned from whole trajectories of a teacher: a regression on where they end.

Consistency distillation learns each level from the one below it, and errors add up on the way; where trajectories are
few enough to be kept, their ends can be learned outright.
"""

from collections.abc import Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgm_jax.objectives.consistency import Denoiser, Distance, PseudoHuber
from sgm_jax.sampling import ProbabilityFlow, Trajectory, sample
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, PerExample, PRNGKey, PRNGKeys


def flow_trajectories(
    key: PRNGKey | PRNGKeys, process: ProbabilityFlow, shape: tuple[int, ...], levels: np.ndarray, **options: Any
) -> tuple[Batch, Float[Array, "b k ..."]]:
    """Draw samples of a flow, and the states that lead to each.

    Args:
        key: one PRNG key, or one an example [b].
        process: the flow.
        shape: shape of the samples [b, ...].
        levels: decreasing canonical noise levels [k + 1].
        **options: of `sample`, such as `solver`.

    Returns:
        The samples [b, ...], and the states at all levels but the last in the SDE's own scale [b, k, ...].
    """
    samples = sample(key, process, shape, schedule=levels, save=len(levels), **options)
    return samples.x, jnp.moveaxis(cast(Trajectory, samples.trajectory).xt[:-1], 0, 1)


def trajectory_regression(
    key: PRNGKey,
    sde: AbstractSDE,
    student: Denoiser,
    x0: Batch,
    states: Float[Array, "b k ..."],
    levels: Sequence[float] | np.ndarray,
    *,
    distance: Distance = PseudoHuber(),  # noqa: B008 (an immutable value)
    top: float = 0.25,
) -> PerExample:
    """Compute the distance of what the student makes of one state of each trajectory from the trajectory's end.

    Args:
        key: PRNG key for the choice of states.
        sde: the forward process.
        student: denoiser that is trained.
        x0: the ends [b, ...].
        states: states of the trajectories [b, k, ...], as from `flow_trajectories`.
        levels: their canonical noise levels [k].
        distance: `(a, b) -> [b]`.
        top: share of the examples whose first state is taken, from which the first step of sampling starts; those of
            the others are drawn uniformly.

    Returns:
        Losses [b].

    Raises:
        ValueError: if there are not as many levels as states.

    References:
        Luhman and Luhman, Knowledge Distillation in Iterative Generative Models, 2021, for the first state alone.
    """
    if states.shape[1] != len(levels):
        raise ValueError(f"levels must be as many as the {states.shape[1]} states, got {len(levels)}")
    choice, place = jax.random.split(key)
    index = jax.random.randint(place, x0.shape[:1], 0, len(levels))
    index = jnp.where(jax.random.uniform(choice, x0.shape[:1]) < top, 0, index)
    x = states[jnp.arange(len(x0)), index]
    return distance(student(sde.t(jnp.asarray(levels, x.dtype)[index]), x), x0)
