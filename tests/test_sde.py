import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import SDES

import sgm_jax as sgm

RECORDED = np.load(pathlib.Path(__file__).parent / "data" / "sde_steps.npz")
RECORDED_SDES = {"ve": sgm.VE(0.01, 50.0), "vp": sgm.VP(0.1, 20.0), "subvp": sgm.SubVP(0.1, 20.0)}


@pytest.mark.parametrize("name", RECORDED_SDES)
@pytest.mark.parametrize("quantity", ["mean", "std", "drift", "diffusion", "prior_logp"])
def test_matches_recorded_reference(name, quantity):
    sde = RECORDED_SDES[name]
    record = {key.split("/", 1)[1]: jnp.asarray(RECORDED[key]) for key in RECORDED.files if key.startswith(name + "/")}
    t, x = record["t"], record["x"]
    ours = {
        "mean": lambda: sde.marginal(t, x)[0],
        "std": lambda: sde.marginal(t, x)[1],
        "drift": lambda: sde.drift(t, x),
        "diffusion": lambda: sde.diffusion(t),
        "prior_logp": lambda: sde.prior_log_density(10 * x),
    }[quantity]()
    # sub-VP's sigma is squared in the reference from a rounded exponential; near t = 0 theirs is the inexact one.
    np.testing.assert_allclose(ours, record[quantity], rtol=1e-5, atol=2e-7)


@pytest.mark.parametrize("name", SDES)
def test_time_of_noise_level_inverts_noise_level(name):
    sde = SDES[name]
    t = jnp.geomspace(sde.t_min, sde.t_max, 40)
    np.testing.assert_allclose(sde.s(sde.t(sde.s(t))), sde.s(t), rtol=2e-5)
    assert jnp.all(jnp.diff(sde.s(t)) > 0)


@pytest.mark.parametrize("name", SDES)
def test_noise_level_is_exact_in_float32_near_both_ends(name):
    sde = SDES[name]
    t = np.geomspace(sde.t_min, sde.t_max, 30).astype(np.float32)
    single = np.asarray(sde.s(jnp.asarray(t)))
    with jax.enable_x64(True):
        double = np.asarray(sde.s(jnp.asarray(t, jnp.float64)))
        ratio = np.asarray(sde.sigma(jnp.asarray(t, jnp.float64)) / sde.alpha(jnp.asarray(t, jnp.float64)))
    # Where the signal vanishes (alpha near 0) the level's own condition number multiplies float32's rounding.
    condition = np.maximum(1, np.abs(t * np.gradient(np.log(double), t)))
    assert np.max(np.abs(single / double - 1) / condition) < 1e-5
    np.testing.assert_allclose(double, ratio, rtol=1e-9)


@pytest.mark.parametrize("name", SDES)
def test_drift_and_diffusion_generate_the_marginals(name):
    # d alpha / dt = f alpha and d sigma**2 / dt = 2 f sigma**2 + g**2, by central differences in float64.
    sde = SDES[name]
    with jax.enable_x64(True):
        t = jnp.linspace(sde.t_min, sde.t_max, 12)[1:-1].astype(jnp.float64)
        h = 1e-6 * t
        slope = lambda function: (function(t + h) - function(t - h)) / (2 * h)
        drift = sde.drift_coefficient(t)
        np.testing.assert_allclose(slope(sde.alpha), drift * sde.alpha(t), rtol=1e-6, atol=1e-9)
        expected = slope(lambda t: sde.sigma(t) ** 2) - 2 * drift * sde.sigma(t) ** 2
        np.testing.assert_allclose(sde.diffusion(t) ** 2, expected, rtol=1e-5)


def test_general_sde_equals_the_named_one():
    named = sgm.RectifiedFlow()
    general = sgm.LinearSDE(lambda t: 1 - t, lambda t: t, named.t_min, named.t_max)
    t = jnp.linspace(named.t_min, named.t_max, 9)
    np.testing.assert_allclose(general.diffusion(t), named.diffusion(t), rtol=1e-6)
    np.testing.assert_allclose(general.t(named.s(t)), t, rtol=2e-5)
    slope = jax.vmap(jax.grad(lambda s: general.t(s)))(named.s(t[1:-1]))
    np.testing.assert_allclose(slope, (1 - t[1:-1]) ** 2, rtol=1e-3)


@pytest.mark.parametrize("name", SDES)
def test_prior_samples_have_the_prior_density(name):
    sde = SDES[name]
    x = sde.prior_sample(jax.random.key(0), (20000, 2))
    np.testing.assert_allclose(x.std(), sde.prior_std, rtol=0.02)
    expected = -1 - jnp.log(2 * jnp.pi * sde.prior_std**2)
    np.testing.assert_allclose(sde.prior_log_density(x).mean(), expected, atol=0.03)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: sgm.VP(beta_min=3.0, beta_max=1.0), "beta_min=3.0"),
        (lambda: sgm.VE(sigma_min=-1.0), "sigma_min=-1.0"),
        (lambda: sgm.EDM(t_min=2.0, t_max=1.0), "t_min=2.0"),
        (lambda: sgm.RectifiedFlow(t_max=1.0), "got 1.0"),
        (lambda: sgm.Cosine(offset=-0.1), "-0.1"),
    ],
)
def test_bad_parameters_are_refused_by_value(make, match):
    with pytest.raises(ValueError, match=match):
        make()
