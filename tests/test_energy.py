"""Energies, their normalising constants and the symmetry of their scores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import Mixture

import sgm_jax as sgm
from sgm_jax import energy
from sgm_jax.networks import MLP, Conservative

MIXTURE = Mixture([[2.0, 1.0], [-1.5, -1.0], [0.5, -2.5]], 0.5)


def unnormalised(x):
    """The mixture's density times exp(3.7)."""
    return MIXTURE.log_density(x) + 3.7


def log_normal(x, std=3.0):
    return -0.5 * jnp.sum((x / std) ** 2, axis=1) - x.shape[1] * jnp.log(std * jnp.sqrt(2 * jnp.pi))


def test_annealed_importance_sampling_finds_the_constant_of_a_mixture():
    path = energy.geometric_path(log_normal, unnormalised)
    fractions = jnp.linspace(0, 1, 201)[1:]
    x = 3.0 * jax.random.normal(jax.random.key(0), (1000, 2))
    found = energy.annealed_importance_sampling(jax.random.key(1), path, x, fractions, step_size=0.1)
    np.testing.assert_allclose(found.log_ratio, 3.7, atol=0.05)
    assert 0.5 < found.acceptance.min() and found.effective_samples > 300
    # The weighted chains are samples of the mixture.
    weights = jax.nn.softmax(found.log_weights)
    np.testing.assert_allclose(weights @ found.x, MIXTURE.means.mean(axis=0), atol=0.15)


def test_energy_score_is_the_score_of_its_density():
    sde = sgm.EDM()
    x, t = jax.random.normal(jax.random.key(0), (5, 2)), jnp.full(5, 0.3)
    each = jax.vmap(lambda s, y: -MIXTURE.log_density(y[None], s)[0])
    score = energy.energy_score(each)
    np.testing.assert_allclose(score(t, x), MIXTURE.score_fn(sde)(t, x), rtol=1e-4, atol=1e-5)


def test_asymmetry_of_linear_fields():
    x = jnp.ones((3, 4))
    generator = np.random.default_rng(0)
    matrix = jnp.asarray(generator.normal(size=(4, 4)), jnp.float32)
    for jacobian, tolerance in ((matrix + matrix.T, 1e-6), (matrix - matrix.T, 1e-6), (matrix, 0.05)):
        expected = jnp.sum((jacobian - jacobian.T) ** 2) / (4 * jnp.sum(jacobian**2))
        found = energy.asymmetry(jax.random.key(0), lambda x: x @ jacobian.T, x, probes=512)  # noqa: B023
        np.testing.assert_allclose(found, jnp.full(3, expected), atol=tolerance)


def test_conservative_network_is_the_gradient_of_its_potential():
    network = Conservative(MLP(width=16, layers=1, init_scale=1.0))
    label, x = jnp.array([0.1, 0.7]), jax.random.normal(jax.random.key(0), (2, 3))
    variables = network.init(jax.random.key(1), label, x)
    potential = lambda x: network.apply(variables, label, x, method="potential").sum()
    output = jax.jit(lambda x: network.apply(variables, label, x))
    np.testing.assert_allclose(output(x), jax.grad(potential)(x), rtol=1e-5, atol=1e-6)
    assert energy.asymmetry(jax.random.key(2), output, x).max() < 1e-5
    free = lambda x: network.network.apply({"params": variables["params"]["network"]}, label, x)
    assert energy.asymmetry(jax.random.key(2), free, x).min() > 1e-3


@pytest.mark.slow
def test_energy_trained_by_denoising_score_matching_gives_log_densities():
    # The potential is sigma times the log density, up to a constant at each noise level.
    import optax

    sde, network = sgm.EDM(t_min=0.05, t_max=5.0), Conservative(MLP(width=64, layers=2, embedding="fourier"))
    inputs = lambda t, x: (jnp.log(t), x / jnp.hypot(1.0, t)[:, None])
    x0 = MIXTURE.means[jax.random.randint(jax.random.key(0), (20_000,), 0, 3)]
    x0 = (x0 + 0.5 * jax.random.normal(jax.random.key(1), x0.shape)) / 2
    params = network.init(jax.random.key(2), jnp.ones(1), x0[:1])["params"]
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, 3000))

    def score(params):
        return lambda t, x: network.apply({"params": params}, *inputs(t, x)) / t[:, None]

    def loss(params, key):
        batch = jax.random.choice(key, x0, (512,))
        return sgm.denoising_score_matching(key, sde, score(params), batch, times=sgm.LogNormalTimes(-0.5, 1.2)).mean()

    @jax.jit
    def step(carry, key):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params, key), state)
        return (optax.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(jax.random.key(3), 3000))
    s = jnp.full(2000, 0.2)
    x = x0[:2000] + 0.2 * jax.random.normal(jax.random.key(4), (2000, 2))
    label, scaled = inputs(s, x)
    model = network.apply({"params": params}, label, scaled, method="potential") * jnp.hypot(1.0, s) / s
    exact = Mixture(MIXTURE.means / 2, 0.25).log_density(x, 0.2)
    difference = np.asarray(model - exact)
    assert difference.std() < 0.25 * np.asarray(exact).std()
