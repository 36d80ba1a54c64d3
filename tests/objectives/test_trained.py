"""Small networks trained on densities of the plane, against the densities' own log-likelihood."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from closed_form import Mixture

import sgm_jax as sgm
from sgm_jax import objectives, sampling
from sgm_jax.energy import asymmetry
from sgm_jax.networks import MLP

MIXTURE = Mixture([[1.2, 0.5], [-0.9, -0.9], [-0.3, 1.3]], 0.35)
RADII, WIDTH = jnp.array([0.6, 1.4]), 0.2


def draw_mixture(key, count):
    which, noise = jax.random.split(key)
    means = MIXTURE.means[jax.random.randint(which, (count,), 0, len(MIXTURE.means))]
    return means + MIXTURE.std * jax.random.normal(noise, means.shape)


def draw_rings(key, count):
    which, turn, noise = jax.random.split(key, 3)
    angle = jax.random.uniform(turn, (count,), maxval=2 * jnp.pi)
    circle = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    return jax.random.choice(which, RADII, (count, 1)) * circle + WIDTH * jax.random.normal(noise, (count, 2))


def rings_log_density(x, s):
    """A ring with noise: the mean of a Gaussian over the angle, a Bessel function of the radius."""
    variance, radius = WIDTH**2 + s**2, jnp.linalg.norm(x, axis=1, keepdims=True)
    terms = jnp.log(jax.scipy.special.i0e(radius * RADII / variance)) - 0.5 * (radius - RADII) ** 2 / variance
    return jax.nn.logsumexp(terms, axis=1) - jnp.log(len(RADII)) - jnp.log(2 * jnp.pi * variance)


DENSITIES = {"mixture": (draw_mixture, MIXTURE.log_density), "rings": (draw_rings, rings_log_density)}
OBJECTIVES = {
    "denoising": sgm.denoising_score_matching,
    "sliced_vr": functools.partial(objectives.over_noise_levels, matching=objectives.sliced_score_matching_vr),
}


@pytest.mark.slow
@pytest.mark.parametrize("objective, density", [("denoising", "rings"), ("sliced_vr", "mixture")])
def test_trained_models_reach_the_likelihood_of_the_truth(objective, density):
    draw, log_density = DENSITIES[density]
    sde, network, steps = sgm.EDM(t_min=0.05, t_max=20.0), MLP(width=64, layers=3), 4000
    params = network.init(jax.random.key(0), jnp.ones(1), jnp.ones((1, 2)))["params"]
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, steps))
    prediction = sgm.score.EDMPreconditioned(1.0)

    def score(params):
        return sgm.as_score(sde, prediction, lambda label, x: network.apply({"params": params}, label, x))

    def loss(params, key):
        data, noise = jax.random.split(key)
        return OBJECTIVES[objective](
            noise, sde, score(params), draw(data, 256), times=objectives.LogUniformTimes()
        ).mean()

    def step(carry, key):
        params, state, average = carry
        updates, state = optimizer.update(jax.grad(loss)(params, key), state)
        params = optax.apply_updates(params, updates)
        return (params, state, optax.incremental_update(params, average, 0.005)), None

    train = jax.jit(lambda *carry: jax.lax.scan(step, carry, jax.random.split(jax.random.key(1), steps))[0])
    _, _, params = train(params, optimizer.init(params), params)

    x = draw(jax.random.key(2), 2000) + sde.t_min * jax.random.normal(jax.random.key(3), (2000, 2))
    options = dict(divergence="exact", chart=sampling.Angle(1.0), rtol=1e-4, atol=1e-4)
    model = sgm.log_likelihood(jax.random.key(4), sde, score(params), x, **options).log_prob
    gap = np.asarray(log_density(x, sde.t_min) - model, np.float64)
    assert abs(gap.mean()) < 0.05
    # A free-form network is a gradient only as far as it has learned to be one.
    uneven = asymmetry(jax.random.key(5), lambda x: score(params)(0.2, x), x)
    assert 1e-6 < np.median(uneven) < 0.05
