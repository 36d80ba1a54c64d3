import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import SDES, Gaussian, Mixture
from jax.scipy.stats import norm

import sgm_jax as sgm
from sgm_jax.scaling import Scaling

DATA = Gaussian()


@pytest.mark.parametrize("prediction", ["score", "noise", "denoised", "velocity", "flow", "edm"])
@pytest.mark.parametrize("name", ["vp", "edm"])
def test_gaussian_likelihood_for_every_prediction(name, prediction):
    check_gaussian(SDES[name], sgm.as_score(SDES[name], prediction, DATA.network(SDES[name], prediction)))


@pytest.mark.parametrize("name", SDES)
def test_gaussian_likelihood_for_every_sde(name):
    check_gaussian(SDES[name], DATA.score_fn(SDES[name]))


def check_gaussian(sde, score):
    x = DATA.sample(jax.random.key(1), 6)
    out = sgm.log_likelihood(jax.random.key(0), sde, score, x, divergence="exact")
    np.testing.assert_allclose(out.log_prob, DATA.flow_log_density(sde, x), atol=2e-3)
    # The density of the data themselves, up to the prior's mismatch with data of this mean.
    closed = jnp.sum(-0.5 * ((x - DATA.mean) / DATA.std) ** 2 - jnp.log(DATA.std * np.sqrt(2 * np.pi)), 1)
    mismatch = jnp.abs(closed - DATA.flow_log_density(sde, x))
    assert jnp.all(jnp.abs(out.log_prob - closed) < mismatch + 2e-3)


@pytest.mark.parametrize("name", ["vp", "subvp", "rectified_flow"])
def test_mixture_density_integrates_to_one(name):
    sde = SDES[name]
    score = Mixture([[-1.0, 0.5], [1.0, 1.0], [0.3, -1.2]], 0.3).score_fn(sde)
    axis = jnp.linspace(-3, 3, 61)
    grid = jnp.stack(jnp.meshgrid(axis, axis), -1).reshape(-1, 2)
    out = sgm.log_likelihood(jax.random.key(0), sde, score, grid, divergence="exact", rtol=1e-4, atol=1e-4)
    total = jnp.sum(jnp.exp(out.log_prob)) * (axis[1] - axis[0]) ** 2
    assert abs(total - 1) < 0.01


@pytest.mark.slow
def test_hutchinson_is_unbiased_and_falls_with_the_probes():
    # A score with off-diagonal Jacobian, so that random projections err.
    sde, d = sgm.VP(), 8
    root = jnp.asarray(np.random.default_rng(0).normal(size=(d, d)) / 2)
    covariance = root @ root.T + 0.2 * jnp.eye(d)

    def score(t, x):
        alpha, sigma = sde.alpha(t), sde.sigma(t)
        return -jnp.linalg.solve(alpha**2 * covariance + sigma**2 * jnp.eye(d), x.T).T

    x = jnp.broadcast_to(jnp.linspace(-1, 1, d), (200, d))
    exact = sgm.log_likelihood(jax.random.key(0), sde, score, x[:1], divergence="exact").log_prob[0]
    spread = {}
    for probes in (1, 8):
        for distribution in (sgm.divergence.rademacher, jax.random.normal):
            divergence = sgm.Hutchinson(probes, distribution)
            out = sgm.log_likelihood(jax.random.key(1), sde, score, x, divergence=divergence, rtol=1e-3, atol=1e-3)
            error = np.asarray(out.log_prob) - exact
            spread[probes, distribution] = error.std()
            assert abs(error.mean()) < 4 * error.std() / np.sqrt(len(x)) + 5e-3
            if probes == 1:
                assert out.standard_error is None
            else:
                typical = np.sqrt(np.mean(np.square(out.standard_error)))
                np.testing.assert_allclose(typical, error.std(), rtol=0.2)
    for distribution in (sgm.divergence.rademacher, jax.random.normal):
        ratio = spread[1, distribution] / spread[8, distribution]
        assert 2.2 < ratio < 3.6  # the square root of eight is 2.83


def test_steps_of_its_own_for_each_example_agree_and_do_not_depend_on_the_batch():
    sde = sgm.VP()
    score = DATA.score_fn(sde)
    # The last example is far from the data, so that it needs other steps.
    x = jnp.concatenate([DATA.sample(jax.random.key(1), 3), jnp.full((1, 3), 9.0)])
    keys = jax.random.split(jax.random.key(0), 4)
    options = dict(divergence=sgm.Hutchinson(2), steps="per_example")
    alone = sgm.log_likelihood(keys, sde, score, x, **options)
    np.testing.assert_allclose(alone.log_prob, DATA.flow_log_density(sde, x), rtol=2e-4, atol=2e-3)
    assert alone.nfe.shape == alone.standard_error.shape == (4,) and len(set(alone.nfe.tolist())) > 1
    fewer = sgm.log_likelihood(keys[2:], sde, score, x[2:], **options)
    np.testing.assert_array_equal(fewer.nfe, alone.nfe[2:])
    np.testing.assert_allclose(fewer.log_prob, alone.log_prob[2:], rtol=1e-5)
    np.testing.assert_allclose(fewer.latent, alone.latent[2:], rtol=1e-4)


def test_importance_weighted_bounds_rise_to_the_probability_of_a_bin():
    # One integer of eight, under a normal density that falls steeply within its bin.
    scaling, std = Scaling(8), 0.2
    raw = jnp.full((20000, 64, 1), 5.0)
    x = scaling.dequantise(jax.random.key(0), raw)[..., 0]
    log_prob = (norm.logpdf(x, scale=std) + scaling.log_volume(x[:1, :1])).T
    low, high = scaling.to_model(jnp.array([5.0, 6.0]), 0.0)
    exact = -jnp.log2(norm.cdf(high / std) - norm.cdf(low / std))
    bits = [-sgm.importance_weighted(log_prob[:k]).mean() / np.log(2) for k in (1, 2, 8, 64)]
    assert bits[0] > bits[1] + 0.01 and bits[1] > bits[2] + 0.01 and bits[2] > bits[3] + 0.01
    assert exact < bits[3] < exact + 0.05


def test_evaluations_are_counted_exactly():
    sde, calls = sgm.VP(), []
    exact = DATA.score_fn(sde)

    def score(t, x):
        jax.debug.callback(lambda: calls.append(1))
        return exact(t, x)

    for solver in (diffrax.Dopri5(), diffrax.Heun()):
        calls.clear()
        x = DATA.sample(jax.random.key(1), 4)
        out = sgm.log_likelihood(jax.random.key(0), sde, score, x, rtol=1e-3, atol=1e-3, solver=solver)
        jax.effects_barrier()
        assert int(out.nfe) == len(calls)


def test_bits_per_dimension_do_not_depend_on_the_scaling():
    # The same model of the same raw data in two ranges: densities differ by the slope, bits do not.
    raw = jnp.array([[10.0, 200.0], [90.0, 40.0]])
    bits = []
    for low, high in ((-1.0, 1.0), (0.0, 1.0)):
        scaling = Scaling(256, low, high)
        middle, width = 0.5 * (low + high), high - low
        data = Gaussian(mean=(middle, middle), std=(0.2 * width, 0.3 * width))
        sde = sgm.EDM(t_min=1e-3 * width, t_max=2000.0 * width)
        x = scaling.to_model(raw)
        out = sgm.log_likelihood(jax.random.key(0), sde, data.score_fn(sde), x, divergence="exact")
        bits.append(scaling.bits_per_dim(out.log_prob, x))
    np.testing.assert_allclose(bits[0], bits[1], atol=1e-3)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (dict(divergence="hutch"), "did you mean"),
        (dict(steps="per_exmple"), "did you mean 'per_example'"),
        (dict(rtol=0.0), "rtol=0.0"),
    ],
)
def test_bad_input_is_refused(options, match):
    sde = sgm.VP()
    with pytest.raises(ValueError, match=match):
        sgm.log_likelihood(jax.random.key(0), sde, DATA.score_fn(sde), jnp.ones((2, 3)), **options)
    with pytest.raises(ValueError, match="got 0"):
        sgm.Hutchinson(probes=0)
