import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import SDES, Gaussian

import sgm_jax as sgm
from sgm_jax import objectives


def test_minimiser_in_closed_form():
    # For N(0, c**2) data and score -k x, the expected loss of one coordinate at one time is
    # 1/2 ((1 - k sigma**2)**2 + k**2 alpha**2 c**2 sigma**2).
    sde, c, k, time = sgm.VP(), 0.8, 1.3, 0.4
    data = c * jax.random.normal(jax.random.key(0), (200_000, 1))
    at = lambda key, sde, count: jnp.full(count, time)
    loss = sgm.denoising_score_matching(jax.random.key(1), sde, lambda t, x: -k * x, data, times=at)
    sigma, alpha = sde.sigma(time), sde.alpha(time)
    expected = 0.5 * ((1 - k * sigma**2) ** 2 + (k * alpha * c * sigma) ** 2)
    np.testing.assert_allclose(loss.mean(), expected, rtol=0.01)


@pytest.mark.parametrize("name", ["vp", "subvp", "ve"])
def test_likelihood_weighted_loss_bounds_the_likelihood(name):
    # Song et al. 2021b, theorem 1, with the exact score: KL(model) = 0, so the bound is tight, and
    # loss * T - loss of the constant part equals the entropy up to the prior's cross entropy.
    sde, data = sgm.sde.VP(t_min=1e-3) if name == "vp" else SDES[name], Gaussian(mean=(0.0,), std=(0.9,))
    count = 100_000
    x0 = data.sample(jax.random.key(0), count)
    score = data.score_fn(sde)
    good = sgm.denoising_score_matching(jax.random.key(1), sde, score, x0, weighting="likelihood").mean()
    bad = sgm.denoising_score_matching(
        jax.random.key(1), sde, lambda t, x: 0.9 * score(t, x), x0, weighting="likelihood"
    ).mean()
    # The excess loss over the exact score is the integral of g**2 / 2 times the Fisher divergence, here known:
    t = jnp.linspace(sde.t_min, sde.t_max, 20_001)
    variance = (sde.alpha(t) * 0.9) ** 2 + sde.sigma(t) ** 2
    fisher = 0.5 * sde.diffusion(t) ** 2 * 0.01 / variance
    np.testing.assert_allclose((bad - good) * (sde.t_max - sde.t_min), jnp.trapezoid(fisher, t), rtol=0.06)


def test_weightings_agree_with_their_definitions():
    sde, t = sgm.VP(), jnp.array([0.05, 0.4, 0.9])
    snr = (sde.alpha(t) / sde.sigma(t)) ** 2
    s = sde.s(t)
    # Each is stated in the literature as a factor on the error of the denoised data, which is s times the noise's.
    np.testing.assert_allclose(objectives.EDMWeighting(0.5)(sde, t), s**2 * (s**2 + 0.25) / (0.5 * s) ** 2, rtol=1e-5)
    np.testing.assert_allclose(objectives.MinSNRWeighting(5.0)(sde, t), s**2 * jnp.minimum(snr, 5.0), rtol=1e-5)
    np.testing.assert_allclose(
        objectives.likelihood_weighting(sde, t), 19.9 * t / sde.sigma(t) ** 2 + 0.1 / sde.sigma(t) ** 2, rtol=1e-5
    )
    np.testing.assert_allclose(objectives.LogSNRWeighting(jnp.exp)(sde, t), snr, rtol=1e-5)


def test_stratified_times_fill_every_stratum_once():
    t = sgm.UniformTimes()(jax.random.key(3), sgm.VP(t_min=0.0), 64)
    assert sorted(np.floor(np.asarray(t) * 64)) == list(range(64))


def test_log_normal_times_have_the_stated_moments():
    times = sgm.LogNormalTimes(-1.2, 1.2)
    for sde in (sgm.EDM(t_min=1e-6, t_max=1e4), sgm.VP(t_min=1e-9, t_max=1.5)):
        log_s = jnp.log(sde.s(times(jax.random.key(0), sde, 4096)))
        np.testing.assert_allclose([log_s.mean(), log_s.std()], [-1.2, 1.2], atol=0.01)


@pytest.mark.parametrize("name", SDES)
def test_times_stay_within_the_sde(name):
    sde = SDES[name]
    for times in (sgm.UniformTimes(), sgm.LogNormalTimes(0.0, 6.0)):
        t = times(jax.random.key(0), sde, 512)
        assert t.min() >= sde.t_min and t.max() <= sde.t_max


def test_loss_is_per_example_and_reproducible():
    x0 = jnp.ones((5, 4, 4, 2))
    loss = lambda key: sgm.denoising_score_matching(key, sgm.VP(), lambda t, x: -x, x0)
    first = loss(jax.random.key(0))
    assert first.shape == (5,)
    np.testing.assert_array_equal(first, loss(jax.random.key(0)))
    assert np.all(first != loss(jax.random.key(1)))


def test_unknown_weighting_is_refused():
    with pytest.raises(ValueError, match="did you mean 'min_snr'"):
        sgm.denoising_score_matching(jax.random.key(0), sgm.VP(), lambda t, x: x, jnp.ones((1, 1)), weighting="minsnr")
