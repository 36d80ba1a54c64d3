"""Maximum likelihood through the ODE: its gradient, and the likelihood that it reaches."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from closed_form import Mixture
from jax.tree_util import Partial

import sgm_jax as sgm
from sgm_jax.networks import MLP

ADJOINTS = {"checkpoint": diffrax.RecursiveCheckpointAdjoint(), "backsolve": diffrax.BacksolveAdjoint()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ADJOINTS)
def test_gradient_agrees_with_finite_differences(name):
    sde = sgm.EDM(t_min=0.1, t_max=5.0)

    def score(params, t, x):
        return -jnp.tanh(x * params["inner"]) * params["outer"] / (0.5 + jnp.square(t)[..., None])

    with jax.enable_x64(True):
        x = jax.random.normal(jax.random.key(0), (3, 2), jnp.float64)
        params = {"inner": jnp.array([0.8, 1.3]), "outer": jnp.array(0.7)}

        def loss(params):
            options = dict(adjoint=ADJOINTS[name], rtol=1e-7, atol=1e-7)
            return sgm.maximum_likelihood(jax.random.key(1), sde, Partial(score, params), x, **options).mean()

        value, gradient = jax.value_and_grad(loss)(params)
        direction = {"inner": jnp.array([0.3, -0.5]), "outer": jnp.array(0.4)}
        moved = lambda h: loss(jax.tree.map(lambda p, d: p + h * d, params, direction))
        expected = (moved(1e-4) - moved(-1e-4)) / 2e-4
        along = sum(jnp.vdot(gradient[key], direction[key]) for key in params)
        assert np.isfinite(value)
        np.testing.assert_allclose(along, expected, rtol=1e-4)


@pytest.mark.slow
def test_training_reaches_the_likelihood_of_the_truth():
    truth = Mixture([[-1.0, -0.6], [0.9, 0.7]], 0.5)
    sde, network, steps = sgm.EDM(t_min=0.05, t_max=10.0), MLP(width=32, layers=2), 100
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, steps))

    def draw(key, count):
        which = jax.random.randint(key, (count,), 0, 2)
        return truth.means[which] + truth.std * jax.random.normal(jax.random.fold_in(key, 1), (count, 2))

    def loss(params, x, tolerance=1e-3):
        score = sgm.as_score(sde, sgm.EDMPreconditioned(1.0), Partial(network.apply, params))
        return sgm.maximum_likelihood(jax.random.key(0), sde, score, x, rtol=tolerance, atol=tolerance).mean()

    @jax.jit
    def step(params, state, key):
        gradient = jax.grad(loss)(params, draw(key, 192))
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state

    params = network.init(jax.random.key(1), jnp.ones(1), jnp.zeros((1, 2)))
    state, x = optimizer.init(params), draw(jax.random.key(2), 2000)
    exact = -truth.log_density(x).mean()
    assert loss(params, x) > exact + 0.2
    for key in jax.random.split(jax.random.key(3), steps):
        params, state = step(params, state, key)
    assert abs(loss(params, x, 1e-5) - exact) < 0.05
