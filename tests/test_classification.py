"""Noisy classification against two Gaussian classes, whose posterior and error are known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.scipy.stats import norm
from random_weights import compiled

import sgm_jax as sgm
from sgm_jax import classification
from sgm_jax.networks import WideResNet

STD, SIZE = 0.7, 6


def blob():
    """Return the mean of class 1 [h, w, 1], a spot off the centre; that of class 0 is its negative."""
    rows, columns = jnp.indices((SIZE, SIZE))
    return 0.9 * jnp.exp(-((rows - 2.0) ** 2 + (columns - 3.0) ** 2) / 4)[..., None]


def draw(key, count):
    """Draw images of both classes with white noise of deviation `STD`."""
    label_key, noise_key = jax.random.split(key)
    label = jax.random.randint(label_key, (count,), 0, 2)
    sign = (2.0 * label - 1)[:, None, None, None]
    return sign * blob() + STD * jax.random.normal(noise_key, (count, SIZE, SIZE, 1)), label


def bayes_classifier(sde, t, x):
    """Return the true logits: the log likelihood ratio is `2 alpha <blob, x> / variance`."""
    alpha, variance = sde.alpha(t), (sde.alpha(t) * STD) ** 2 + sde.sigma(t) ** 2
    ratio = 2 * alpha * jnp.sum(blob() * x, axis=(1, 2, 3)) / variance
    return jnp.stack([jnp.zeros_like(ratio), ratio], axis=1)


def bayes_accuracy(sde, t):
    return norm.cdf(sde.alpha(t) * jnp.linalg.norm(blob()) / jnp.hypot(sde.alpha(t) * STD, sde.sigma(t)))


@pytest.mark.parametrize("time", [0.05, 0.3, 0.7])
def test_accuracy_of_the_true_posterior_is_known(time):
    sde = sgm.VP()
    x0, label = draw(jax.random.key(0), 40_000)
    accuracy = classification.noisy_accuracy(
        jax.random.key(1), sde, functools.partial(bayes_classifier, sde), x0, label, time
    )
    expected = bayes_accuracy(sde, time)
    assert abs(accuracy - expected) < 4 * np.sqrt(expected * (1 - expected) / 40_000)


def test_cross_entropy_is_the_labels_negative_log_probability():
    logits = jnp.log(jnp.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]])) + 3.0
    loss = classification.noisy_cross_entropy(
        jax.random.key(0), sgm.VP(), lambda t, x: logits, jnp.zeros((2, 4)), jnp.array([2, 0])
    )
    np.testing.assert_allclose(loss, -np.log([0.7, 0.5]), rtol=1e-6)


def test_true_posterior_has_the_least_cross_entropy():
    sde = sgm.VP()
    x0, label = draw(jax.random.key(0), 20_000)
    loss = lambda factor: classification.noisy_cross_entropy(
        jax.random.key(1), sde, lambda t, x: factor * bayes_classifier(sde, t, x), x0, label
    ).mean()
    assert loss(1.0) < min(loss(0.8), loss(1.25))


@pytest.mark.slow
def test_network_learns_the_bayes_accuracy_at_every_noise_level():
    sde, network, prediction = sgm.EDM(), WideResNet(2, blocks=1, width=1, fourier_scale=1.0), sgm.EDMPreconditioned()
    times, steps, count = sgm.LogNormalTimes(0.0, 0.8), 120, 2000
    optimizer = optax.adam(optax.cosine_decay_schedule(4e-3, steps))

    def classifier(params):
        return classification.as_classifier(sde, prediction, functools.partial(network.apply, params))

    def loss(params, key):
        data_key, loss_key = jax.random.split(key)
        x0, label = draw(data_key, 128)
        return classification.noisy_cross_entropy(loss_key, sde, classifier(params), x0, label, times=times).mean()

    @jax.jit
    def step(params, state, key):
        updates, state = optimizer.update(jax.grad(loss)(params, key), state)
        return optax.apply_updates(params, updates), state

    @jax.jit
    def accuracy(params, s):
        x0, label = draw(jax.random.key(2), count)
        return classification.noisy_accuracy(jax.random.key(3), sde, classifier(params), x0, label, s)

    params = compiled(network.init)(jax.random.key(0), jnp.ones(1), jnp.ones((1, SIZE, SIZE, 1)))
    state = optimizer.init(params)
    for key in jax.random.split(jax.random.key(1), steps):
        params, state = step(params, state, key)
    for s in (0.5, 1.0, 2.0):
        expected = bayes_accuracy(sde, s)
        assert 0.7 < expected < 0.999
        assert abs(accuracy(params, s) - expected) < 4 * np.sqrt(expected * (1 - expected) / count)
