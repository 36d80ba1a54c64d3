"""Classifier-free guidance between Gaussians, where the guided score is that of a known Gaussian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import SDES, Gaussian

import sgm_jax as sgm
from sgm_jax.guidance import classifier_free

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
