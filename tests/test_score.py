import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import SDES, Gaussian

import sgm_jax as sgm
from sgm_jax.labels import NearestLevel
from sgm_jax.score import PREDICTIONS

DATA = Gaussian()


def perturbed(sde, count=64):
    key, noise = jax.random.split(jax.random.key(0))
    # Uniform in log s, so that both ends are met.
    s = jnp.exp(jnp.linspace(jnp.log(sde.s(sde.t_min)), jnp.log(sde.s(sde.t_max)), count + 2)[1:-1])
    t = sde.t(s)
    return t, sde.perturb(t, DATA.sample(key, count), jax.random.normal(noise, (count, 3)))


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("name", SDES)
def test_score_of_a_perfect_network_is_the_closed_form(name, prediction):
    sde = SDES[name]
    t, x = perturbed(sde)
    error = lambda t, x: jnp.abs(
        (sgm.as_score(sde, prediction, DATA.network(sde, prediction))(t, x) - DATA.score_fn(sde)(t, x))
        * sde.sigma(t)[:, None]
    )
    # In units of 1 / sigma, the size of a score. In float32 what remains is the rounding of x, in units of sigma.
    rounding = 4 * jnp.finfo(jnp.float32).eps * (1 + jnp.abs(x)) / sde.sigma(t)[:, None]
    assert jnp.all(error(t, x) < 1e-5 + rounding)
    with jax.enable_x64(True):
        t, x = (jnp.asarray(np.asarray(v), jnp.float64) for v in (t, x))
        assert error(t, x).max() < 1e-6


@pytest.mark.parametrize("source", PREDICTIONS)
@pytest.mark.parametrize("target", PREDICTIONS)
@pytest.mark.parametrize("name", ["vp", "subvp", "edm", "rectified_flow"])
def test_conversions_round_trip(name, source, target):
    sde = SDES[name]
    with jax.enable_x64(True):
        t, x = (jnp.asarray(np.asarray(v), jnp.float64) for v in perturbed(sde, 16))
        output = DATA.network(sde, source if source != "edm" else "noise")(t, x)
        there = sgm.score.convert(sde, t, x, output, source, target)
        back = sgm.score.convert(sde, t, x, there, target, source)
        # Exact to rounding, whose condition number is that of finding the noise in x0 or x0 in the noise.
        condition = (1 + sde.s(t) ** -2.0 + sde.s(t) ** 2)[:, None]
        assert np.all(np.abs(back - output) < 1e-14 * condition * (1 + jnp.abs(output) + jnp.abs(x)))


def test_velocity_of_rectified_flow_is_noise_minus_data():
    sde = SDES["rectified_flow"]
    t, x0, noise = jnp.array([0.3, 0.8]), jnp.ones((2, 3)), jnp.full((2, 3), 4.0)
    flow = sgm.score.as_prediction("flow").join(sde, t, x0, noise)
    np.testing.assert_allclose(flow, 3.0 * jnp.ones((2, 3)), rtol=1e-6)


def test_edm_network_sees_and_predicts_unit_variance():
    sde = sgm.VP()
    prediction = sgm.EDMPreconditioned(sigma_data=0.7)
    key = jax.random.key(0)
    x0, noise = 0.7 * jax.random.normal(key, (4000, 8)), jax.random.normal(jax.random.key(1), (4000, 8))
    for time in (0.01, 0.3, 0.9):
        t = jnp.full(4000, time)
        label, seen = prediction.inputs(sde, t, sde.perturb(t, x0, noise))
        np.testing.assert_allclose(seen.std(), 1, atol=0.02)
        np.testing.assert_allclose(prediction.join(sde, t, x0, noise).std(), 1, atol=0.02)
        np.testing.assert_allclose(label, 0.25 * jnp.log(sde.s(t)), rtol=1e-6)


@pytest.mark.parametrize("name", SDES)
def test_denoiser_is_the_posterior_mean(name):
    sde = SDES[name]
    t, x = perturbed(sde)
    ours = sgm.as_denoiser(sde, DATA.score_fn(sde))(t, x)
    np.testing.assert_allclose(ours, DATA.denoised(sde, t, x), atol=2e-4)


def test_unknown_prediction_offers_the_nearest_name():
    with pytest.raises(ValueError, match="did you mean 'velocity'"):
        sgm.as_score(sgm.VP(), "velocty", lambda t, x: x)


def test_the_nearest_level_is_nearest_by_ratio():
    sde, sigmas = SDES["ve"], (10.0, 1.0, 0.1)
    kind = sgm.score.Labelled(sgm.score.Score(), NearestLevel(sigmas))
    sigma, x = jnp.array([9.0, 3.2, 3.1, 0.32, 0.31, 0.01]), jnp.ones((6, 2))
    label, fed = kind.inputs(sde, sde.t(sigma), x)
    # sqrt(10) and sqrt(0.1) part them.
    np.testing.assert_array_equal(label, [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(fed, x)
