"""Times of training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import SDES, Gaussian

import sgm_jax as sgm
from sgm_jax import objectives


@pytest.mark.parametrize("name", ["vp", "subvp", "ve", "cosine"])
def test_importance_sampling_keeps_the_likelihood_loss_and_lowers_its_variance(name):
    sde = {"vp": sgm.VP(t_min=1e-3), "subvp": sgm.SubVP(t_min=1e-2)}.get(name, SDES[name])
    data, count = Gaussian(mean=(0.0, 0.3), std=(0.9, 0.4)), 400_000
    x0, exact = data.sample(jax.random.key(0), count), data.score_fn(sde)
    score = lambda t, x: 0.8 * exact(t, x)

    def losses(weighting, times):
        return sgm.denoising_score_matching(jax.random.key(1), sde, score, x0, weighting=weighting, times=times)

    independent = {"quantiles": objectives.independent_quantiles}
    uniform = losses("likelihood", sgm.UniformTimes(**independent)) * (sde.t_max - sde.t_min)
    log_range = 2 * jnp.log(sde.s(sde.t_max) / sde.s(sde.t_min))
    importance = losses("noise", objectives.LogUniformTimes(**independent)) * log_range
    error = jnp.hypot(uniform.std(), importance.std()) / np.sqrt(count)
    assert abs(uniform.mean() - importance.mean()) < 4 * error
    if name != "ve":  # whose uniform times are log-uniform levels already
        assert importance.var() < uniform.var() / 3


@pytest.mark.parametrize("name", SDES)
def test_log_uniform_times_have_uniform_log_levels(name):
    sde = SDES[name]
    s = np.sort(np.asarray(sde.s(objectives.LogUniformTimes()(jax.random.key(0), sde, 256))))
    low, high = sde.s(sde.t_min), sde.s(sde.t_max)
    np.testing.assert_allclose(np.diff(np.log(s)), np.log(high / low) / 256, rtol=0.05, atol=2e-3)


def test_level_times_draw_each_level_alike():
    sde, levels = sgm.EDM(), jnp.array([10.0, 1.0, 0.1, 0.01])
    s = np.asarray(sde.s(objectives.LevelTimes(levels)(jax.random.key(0), sde, 400)))
    np.testing.assert_allclose(np.sort(s), np.repeat(np.sort(levels), 100), rtol=1e-5)
