"""Guidance between Gaussians and their mixtures, where the guided score is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import SDES, Gaussian, Mixture

import sgm_jax as sgm
from sgm_jax.guidance import autoguidance, classifier, classifier_free, within

SCALES = [0.0, 0.5, 1.0, 2.5]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", SDES)
def test_guided_score_is_that_of_the_product_of_powers(name, scale):
    """`N(m1, v1)^w N(m0, v0)^(1 - w)` at one noise level has precision `w / v1 + (1 - w) / v0`."""
    sde = SDES[name]
    narrow, wide = Gaussian((1.0, -0.5, 0.2), (0.2, 0.4, 0.3)), Gaussian((0.0, 0.0, 0.0), (1.0, 0.9, 0.8))
    t = jnp.linspace(sde.t_min, sde.t_max, 9)[1:-1]
    x = sde.perturb(t, wide.sample(jax.random.key(0), 7), jax.random.normal(jax.random.key(1), (7, 3)))
    guided = classifier_free(narrow.score_fn(sde), wide.score_fn(sde), scale)(t, x)
    alpha, sigma = np.asarray(sde.alpha(t))[:, None], np.asarray(sde.sigma(t))[:, None]
    v1, v0 = ((alpha * np.asarray(data.std)) ** 2 + sigma**2 for data in (narrow, wide))
    precision = scale / v1 + (1 - scale) / v0
    mean = alpha * (scale * narrow.mean / v1 + (1 - scale) * wide.mean / v0) / precision
    np.testing.assert_allclose(guided, -precision * (x - mean), rtol=2e-4, atol=2e-4 / sigma.min())


@pytest.mark.parametrize("scale", SCALES)
def test_guided_samples_of_equal_widths_are_a_shifted_gaussian(scale):
    """With one covariance the guided density stays Gaussian at all levels: its mean is `m0 + w (m1 - m0)`."""
    sde = sgm.EDM()
    std = (0.3, 1.0, 0.7)
    class_, all_ = Gaussian((1.0, -1.0, 0.5), std), Gaussian((0.2, 0.1, 0.0), std)
    shifted = Gaussian(tuple(all_.mean + scale * (class_.mean - all_.mean)), std)
    samples = [
        sgm.sample(jax.random.key(0), sgm.ProbabilityFlow(sde, score), (16, 3), steps=20).x
        for score in (
            classifier_free(class_.score_fn(sde), all_.score_fn(sde), scale),
            shifted.score_fn(sde),
        )
    ]
    np.testing.assert_allclose(*samples, atol=2e-4)


def test_other_labels_and_scales_compile_nothing():
    sde, means = sgm.EDM(), jnp.array([-1.0, 1.0, 0.0])
    traces = []

    def network(params, noise_label, x, label):
        traces.append(1)
        return params * jnp.broadcast_to(means[label][:, None], x.shape)

    def draw(label, scale):
        conditional, unconditional = (
            sgm.as_score(sde, "denoised", jax.tree_util.Partial(network, jnp.ones(()), label=label))
            for label in (jnp.array(label), jnp.array([2, 2]))
        )
        process = sgm.ProbabilityFlow(sde, classifier_free(conditional, unconditional, scale))
        return sgm.sample(jax.random.key(0), process, (2, 1), steps=30).x[:, 0]

    np.testing.assert_allclose(draw([0, 1], 1.0), [-1.0, 1.0], atol=1e-3)
    first = len(traces)
    np.testing.assert_allclose(draw([1, 0], 1.5), [1.5, -1.5], atol=1e-3)
    assert len(traces) == first


@pytest.mark.parametrize("name", ["vp", "edm"])
def test_exact_classifiers_turn_the_score_of_all_classes_into_that_of_one(name):
    sde, means, std = SDES[name], jnp.array([[1.0, -0.5], [-1.0, 0.3], [0.2, 1.0]]), 0.4
    mixture = Mixture(means, std)

    def classifier_fn(t, x):
        variance = jnp.expand_dims((sde.alpha(t) * std) ** 2 + sde.sigma(t) ** 2, -1)
        centres = jnp.expand_dims(sde.alpha(t), (-1, -2)) * means
        return -0.5 * jnp.sum((x[:, None] - centres) ** 2, -1) / variance

    t = sde.t(jnp.array([0.1, 0.5, 2.0]))
    x, label = jax.random.normal(jax.random.key(0), (3, 2)), jnp.array([2, 0, 1])
    guided = classifier(mixture.score_fn(sde), classifier_fn, label)(t, x)
    expected = [Gaussian(means[k], (std, std)).score_fn(sde)(t[i], x[i : i + 1])[0] for i, k in enumerate(label)]
    np.testing.assert_allclose(guided, jnp.stack(expected), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(
        classifier(mixture.score_fn(sde), classifier_fn, label, 0.0)(t, x), mixture.score_fn(sde)(t, x)
    )


def test_guidance_in_an_interval_leaves_the_other_levels_alone():
    sde = SDES["vp"]
    plain, guided = Gaussian().score_fn(sde), Gaussian((3.0, 3.0, 3.0)).score_fn(sde)
    t, x = sde.t(jnp.array([0.1, 0.5, 2.0, 5.0])), jax.random.normal(jax.random.key(0), (4, 3))
    limited = within(sde, guided, plain, 0.3, 3.0)
    expected = jnp.stack([plain(t, x)[0], *guided(t, x)[1:3], plain(t, x)[3]])
    np.testing.assert_array_equal(limited(t, x), expected)
    np.testing.assert_allclose(jax.vmap(lambda t, x: limited(t, x[None])[0])(t, x), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="low must be less than high, got low=2.0, high=1.0"):
        within(sde, guided, plain, 2.0, 1.0)


def test_levels_outside_the_interval_cost_one_evaluation():
    sde, calls = SDES["vp"], []
    plain = Gaussian().score_fn(sde)

    def watched(t, x):
        jax.debug.callback(lambda: calls.append(1))
        return plain(t, x)

    limited = within(sde, classifier_free(plain, watched, 2.0), plain, 0.3, 3.0)
    jax.block_until_ready([limited(sde.t(s), jnp.ones((2, 3))) for s in (0.1, 1.0, 5.0)])
    jax.effects_barrier()
    assert len(calls) == 1


def test_autoguidance_starts_from_the_worse_model():
    sde = SDES["edm"]
    better, worse = Gaussian().score_fn(sde), Gaussian(std=(1.0, 1.0, 1.0)).score_fn(sde)
    t, x = jnp.array([0.5, 2.0]), jnp.ones((2, 3))
    np.testing.assert_array_equal(autoguidance(better, worse, 0.0)(t, x), worse(t, x))
    np.testing.assert_allclose(autoguidance(better, worse, 2.0)(t, x), 2 * better(t, x) - worse(t, x), rtol=1e-5)
