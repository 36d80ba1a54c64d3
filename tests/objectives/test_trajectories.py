"""The regression on trajectories' ends, on Gaussian data, whose flow is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgm_jax as sgm
from sgm_jax import objectives, sampling

SDE = sgm.EDM(t_min=0.01, t_max=20.0)
LEVELS = np.asarray(sampling.karras(SDE, 60))


def flow():
    return sampling.ProbabilityFlow(SDE, lambda t, x: -x / (1 + jnp.reshape(t, (-1, 1)) ** 2))


def made(count=64):
    return objectives.flow_trajectories(jax.random.key(0), flow(), (count, 3), LEVELS)


def denoiser(factor=1.0):
    return lambda t, x: factor * x / jnp.sqrt(1 + t**2)[:, None]


def test_trajectories_are_the_flows():
    x0, states = made()
    assert x0.shape == (64, 3) and states.shape == (64, 60, 3)
    # x / sqrt(1 + s^2) is the same along each.
    still = states / np.sqrt(1 + LEVELS[:-1] ** 2)[None, :, None]
    np.testing.assert_allclose(still, np.broadcast_to(still[:, :1], still.shape), rtol=2e-3, atol=2e-3)


def test_the_loss_vanishes_at_the_consistency_function_alone():
    x0, states = made()
    losses = objectives.trajectory_regression(
        jax.random.key(1), SDE, denoiser(), x0, states, LEVELS[:-1], distance=objectives.DISTANCES["l2"]
    )
    assert losses.shape == (64,) and losses.max() < 1e-4
    other = objectives.trajectory_regression(
        jax.random.key(1), SDE, denoiser(0.9), x0, states, LEVELS[:-1], distance=objectives.DISTANCES["l2"]
    )
    np.testing.assert_allclose(other, 0.01 * np.mean(np.square(x0), axis=1), rtol=0.05, atol=1e-3)


@pytest.mark.parametrize(("top", "share"), [(0.0, 1 / 60), (0.5, 0.508), (1.0, 1.0)])
def test_the_first_states_get_their_share(top, share):
    states = jnp.broadcast_to(jnp.arange(60.0)[None, :, None], (4000, 60, 1))
    x0, seen = jnp.zeros((4000, 1)), lambda t, x: x
    taken = objectives.trajectory_regression(
        jax.random.key(2), SDE, seen, x0, states, LEVELS[:-1], top=top, distance=lambda a, b: a[:, 0]
    )
    assert abs(np.mean(taken == 0) - share) < 0.03


def test_levels_must_be_those_of_the_states():
    x0, states = made(2)
    with pytest.raises(ValueError, match="as many as the 60 states, got 61"):
        objectives.trajectory_regression(jax.random.key(0), SDE, denoiser(), x0, states, LEVELS)
