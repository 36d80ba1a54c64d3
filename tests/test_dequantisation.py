"""Noise within bins, against a density whose probabilities of bins are known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from closed_form import Gaussian
from random_weights import compiled, randomised
from scipy.stats import norm

import sgm_jax as sgm
from sgm_jax import bounds, dequantisation
from sgm_jax.networks import DequantisationFlow
from sgm_jax.scaling import Scaling

# Two independent Gaussian numbers in bins about as wide as their deviation.
SCALING, STD = Scaling(8, -2.0, 2.0), 0.45


def probability(raw):
    """Return the exact negative log probability [b] of integers."""
    edges = np.linspace(-2, 2, 9)
    edges[0], edges[-1] = -np.inf, np.inf
    return -np.log(np.diff(norm.cdf(edges, scale=STD)))[np.asarray(raw)].sum(axis=1)


def negative_log_density(key, x):
    return -norm_log_density(x)


def norm_log_density(x):
    return jnp.sum(-0.5 * (x / STD) ** 2 - jnp.log(STD * jnp.sqrt(2 * jnp.pi)), axis=1)


@pytest.mark.parametrize("shape", [(3,), (3, 2, 1)])
def test_flow_is_invertible_and_its_density_follows_from_its_jacobian(shape):
    flow, size = DequantisationFlow(width=8, layers=3), int(np.prod(shape))
    with jax.enable_x64(True):
        noise = jax.random.logistic(jax.random.key(0), (2, *shape))
        condition = jax.random.normal(jax.random.key(1), (2, *shape))
        params = randomised(flow, noise, condition)
        u, log_q = compiled(flow.apply)(params, noise, condition)
        back, same = compiled(lambda u: flow.apply(params, u, condition, method="inverse"))(u)
        np.testing.assert_allclose(back, noise, rtol=1e-6)
        np.testing.assert_allclose(same, log_q, rtol=1e-6)
        single = lambda y, c: flow.apply(params, y.reshape(1, *shape), c[None])[0].reshape(size)
        jacobian = compiled(jax.vmap(jax.jacobian(single)))(noise.reshape(2, size), condition)
        base = (jax.nn.log_sigmoid(noise) + jax.nn.log_sigmoid(-noise)).reshape(2, size).sum(axis=1)
        np.testing.assert_allclose(log_q, base - jnp.linalg.slogdet(jacobian)[1], rtol=1e-6)


def test_density_of_the_flow_integrates_to_one():
    flow = DequantisationFlow(width=8, layers=3)
    grid = (jnp.arange(200) + 0.5) / 200
    u = jnp.stack(jnp.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    condition = jnp.broadcast_to(jnp.array([0.7, -0.4]), u.shape)
    params = randomised(flow, u, condition)
    log_q = flow.apply(params, u, condition, method="inverse")[1]
    assert np.std(log_q) > 0.1
    np.testing.assert_allclose(jnp.exp(log_q).mean(), 1, rtol=5e-3)


def test_untrained_flow_is_uniform_dequantisation():
    raw = jax.random.randint(jax.random.key(0), (5000, 2), 0, 8)
    flow = DequantisationFlow()
    params = flow.init(jax.random.key(1), jnp.zeros((1, 2)), jnp.zeros((1, 2)))
    u, log_q = dequantisation.variational(functools.partial(flow.apply, params), SCALING)(jax.random.key(2), raw)
    np.testing.assert_allclose(log_q, 0, atol=1e-5)
    np.testing.assert_allclose(np.quantile(u, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.02)
    # And with uniform noise the bound is bits per dimension as they are computed elsewhere.
    key = jax.random.key(3)
    bound = dequantisation.dequantised_bound(key, SCALING, dequantisation.uniform, raw, negative_log_density)
    x = SCALING.dequantise(jax.random.split(key)[0], raw)
    bits = SCALING.bits_per_dim(norm_log_density(x), x)
    np.testing.assert_allclose(bound / (2 * np.log(2)), bits, rtol=1e-5)


@pytest.mark.slow
def test_trained_flow_tightens_the_bound():
    flow, optimizer, steps = DequantisationFlow(width=16, layers=4), optax.adam(5e-3), 400
    params = flow.init(jax.random.key(0), jnp.zeros((1, 2)), jnp.zeros((1, 2)))

    def draw(key, count):
        return SCALING.to_raw(STD * jax.random.normal(key, (count, 2)))

    def bound(key, params, raw):
        dequantiser = dequantisation.variational(functools.partial(flow.apply, params), SCALING)
        return dequantisation.dequantised_bound(key, SCALING, dequantiser, raw, negative_log_density)

    def step(carry, key):
        params, state = carry
        gradient = jax.grad(lambda p: bound(key, p, draw(jax.random.fold_in(key, 1), 256)).mean())(params)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(params, updates), state), None

    keys = jax.random.split(jax.random.key(1), steps)
    trained = jax.jit(lambda p: jax.lax.scan(step, (p, optimizer.init(p)), keys)[0][0])(params)
    raw = draw(jax.random.key(2), 20_000)
    exact = probability(raw)
    before, after = (np.asarray(bound(jax.random.key(3), p, raw)) - exact for p in (params, trained))
    error = after.std() / np.sqrt(len(raw))
    assert before.mean() > 0.05 and -4 * error < after.mean() < 0.25 * before.mean()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ode", "bound"])
def test_bounds_of_score_models_are_dequantised(how):
    data = Gaussian((0.0, 0.0), (STD, STD))
    sde = sgm.EDM(t_min=0.01)
    score = data.score_fn(sde)
    density = {
        "ode": lambda key, x: -sgm.log_likelihood(key, sde, score, x, divergence="exact").log_prob,
        "bound": lambda key, x: bounds.likelihood_bound(key, sde, score, x, draws=64),
    }[how]
    raw = SCALING.to_raw(data.sample(jax.random.key(0), 2000))
    key = jax.random.key(1)
    ours = dequantisation.dequantised_bound(key, SCALING, dequantisation.uniform, raw, density)
    exact = dequantisation.dequantised_bound(key, SCALING, dequantisation.uniform, raw, negative_log_density)
    gap = np.asarray(ours - exact)
    assert abs(gap.mean()) < 0.005 + 4 * gap.std() / np.sqrt(len(gap))


def test_continuous_data_are_refused():
    with pytest.raises(ValueError, match="levels=None"):
        dequantisation.dequantised_bound(
            jax.random.key(0), Scaling(None), dequantisation.uniform, jnp.zeros((2, 2)), negative_log_density
        )
