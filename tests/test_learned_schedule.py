"""A learned schedule is an SDE like the others, whatever its parameters."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import Gaussian

import sgm_jax as sgm
from sgm_jax.convert.description import describe, restore


def uneven(log_snr_max=9.0, log_snr_min=-8.0):
    """A schedule that is far from linear."""
    sde = sgm.learned_vp(log_snr_max, log_snr_min, width=12)
    bumps = 1.5 * jax.random.normal(jax.random.key(0), (12,))
    return eqx.tree_at(lambda sde: sde.rise.log_weights, sde, sde.rise.log_weights + bumps)


def test_noise_rises_between_the_end_points():
    sde, t = uneven(), jnp.linspace(0, 1, 200)
    np.testing.assert_allclose(sde.log_snr(jnp.array([0.0, 1.0])), [9.0, -8.0], atol=1e-5)
    slopes = -jnp.diff(sde.log_snr(t))
    assert slopes.min() > 0 and slopes.max() > 3 * slopes.min()
    np.testing.assert_allclose(sde.alpha(t) ** 2 + sde.sigma(t) ** 2, 1, rtol=1e-6)
    np.testing.assert_allclose(sde.s(t), sde.sigma(t) / sde.alpha(t), rtol=1e-5)
    np.testing.assert_allclose(sde.s(sde.t(sde.s(t))), sde.s(t), rtol=2e-5)


def test_drift_and_diffusion_generate_the_marginals():
    with jax.enable_x64(True):
        sde, t, h = uneven(), jnp.linspace(0.1, 0.9, 9), 1e-6
        slope = lambda function: (function(t + h) - function(t - h)) / (2 * h)
        drift = sde.drift_coefficient(t)
        np.testing.assert_allclose(slope(sde.alpha), drift * sde.alpha(t), rtol=1e-6, atol=1e-9)
        expected = slope(lambda t: sde.sigma(t) ** 2) - 2 * drift * sde.sigma(t) ** 2
        np.testing.assert_allclose(sde.diffusion(t) ** 2, expected, rtol=1e-5)


def test_time_of_a_level_has_the_gradient_of_the_implicit_function():
    # At a fixed level d t = - (d log SNR by the parameters) / (d log SNR / dt).
    sde, t = uneven(), jnp.array(0.4)
    ours = jax.grad(lambda sde: sde.t(jax.lax.stop_gradient(sde.s(t))))(sde)
    slope = jax.grad(sde.log_snr)(t)
    expected = jax.grad(lambda sde: -sde.log_snr(t) / slope)(sde)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_schedules_are_saved_exactly():
    sde = uneven()
    back = restore(json.loads(json.dumps(describe(sde))))
    assert jax.tree.structure(back) == jax.tree.structure(sde)
    for one, other in zip(jax.tree.leaves(back), jax.tree.leaves(sde), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_likelihoods_and_samples_with_a_learned_schedule():
    sde, data = uneven(), Gaussian()
    x = data.sample(jax.random.key(0), 16)
    out = sgm.log_likelihood(jax.random.key(1), sde, data.score_fn(sde), x, divergence="exact")
    np.testing.assert_allclose(out.log_prob, data.flow_log_density(sde, x), atol=2e-3)
    samples = sgm.sample(jax.random.key(2), sgm.ReverseSDE(sde, data.score_fn(sde)), (4000, 3), steps=100).x
    np.testing.assert_allclose(samples.mean(axis=0), data.mean, atol=0.08)
    np.testing.assert_allclose(samples.std(axis=0), data.std, rtol=0.08)


def test_schedules_that_do_not_fall_are_refused():
    with pytest.raises(ValueError, match="log_snr_max=1.0, got 2.0"):
        sgm.learned_vp(1.0, 2.0)
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        sgm.learned_vp(width=0)
