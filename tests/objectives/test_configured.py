"""Objectives, networks and samplers as configs name them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import configs.ddpm
import configs.energy
import configs.ncsn
import configs.ncsnv2
import configs.scoreflow
import configs.ssm
import sgm_jax as sgm
from sgm_jax import objectives, run, sampling
from sgm_jax.energy import asymmetry
from sgm_jax.experiment import Experiment
from sgm_jax.networks import Conservative

VARIANTS = {
    configs.ddpm: ("full", "smoke"),
    configs.energy: ("full", "smoke"),
    configs.ncsn: ("full", "mnist", "smoke"),
    configs.ncsnv2: ("full", "mnist", "smoke"),
    configs.scoreflow: ("full", "mnist", "smoke"),
    configs.ssm: ("full", "density", "smoke"),
}


def make(config):
    return run.OBJECTIVES[config.objective][0].from_config(config)


@pytest.mark.parametrize(
    "module, variant",
    [
        pytest.param(module, variant, marks=[pytest.mark.slow] if variant in ("mnist", "smoke") else [])
        for module, variants in VARIANTS.items()
        for variant in variants
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_configs_are_sound(module, variant):
    experiment = make(module.get_config(variant))
    assert experiment.sampler()["schedule"].shape == (experiment.config.sampling.steps + 1,)
    with pytest.raises(ValueError, match="got 'tiny'"):
        module.get_config("tiny")


@pytest.mark.parametrize("name", ["denoising", "implicit", "sliced", "sliced_vr", "finite_difference"])
def test_the_objective_is_the_one_named(name):
    config = configs.ssm.get_config("smoke")
    config.matching.name = name
    experiment, key, x0 = make(config), jax.random.key(0), jax.random.normal(jax.random.key(1), (16, 2))
    score = lambda t, x: -x / (1 + jnp.square(t))[:, None]
    common = dict(weighting="noise", times=objectives.LogUniformTimes())
    if name == "denoising":
        expected = sgm.denoising_score_matching(key, experiment.sde, score, x0, **common)
    else:
        expected = objectives.over_noise_levels(key, experiment.sde, score, x0, objectives.MATCHINGS[name], **common)
    np.testing.assert_allclose(experiment.objective(key, score, x0), expected, rtol=1e-6)


def test_without_noise_the_objective_sees_the_data_as_they_are():
    config = configs.ssm.get_config("density")
    config.matching.name = "implicit"
    experiment, key, x0 = make(config), jax.random.key(0), jax.random.normal(jax.random.key(1), (16, 2))
    score = lambda t, x: -x * (1 + t)  # the smallest time is the one that counts
    expected = objectives.MATCHINGS["implicit"](key, lambda x: -1.02 * x, x0)
    np.testing.assert_allclose(experiment.objective(key, score, x0), expected, rtol=1e-4)
    params = experiment.init().params
    now, later = (experiment.score_fn(params)(t, x0) for t in (0.02, 0.7))
    np.testing.assert_array_equal(now, later)


def test_options_reach_the_objective():
    config = configs.ssm.get_config("smoke")
    config.matching.name, config.matching.projection = "sliced", "gaussian"
    config.matching.slices = 3
    keywords = make(config).matching.keywords["matching"].keywords
    assert keywords["slices"] == 3 and keywords["projection"] is sgm.divergence.gaussian


@pytest.mark.slow
def test_energies_by_config_train_and_have_symmetric_scores():
    config = configs.energy.get_config("smoke")
    config.matching.name = "sliced_vr"
    config.network.width, config.network.layers = 16, 1
    experiment = make(config)
    assert isinstance(experiment.network, Conservative)
    params, batch = experiment.init().params, {"x": jnp.asarray(experiment.dataset.train.x[:16])}
    gradient = jax.jit(jax.grad(lambda params: experiment.loss(jax.random.key(0), params, batch).mean()))(params)
    params = jax.tree.map(lambda p, g: p - 0.3 * g, params, gradient)
    score = lambda x: experiment.score_fn(params)(0.5, x)
    assert asymmetry(jax.random.key(1), score, batch["x"]).max() < 1e-6


def test_ncsn_is_trained_at_the_levels_that_it_is_sampled_through():
    experiment = make(configs.ncsn.get_config())
    levels = np.geomspace(1, 0.01, 10)
    times = experiment.times(jax.random.key(0), experiment.sde, 400)
    np.testing.assert_allclose(np.unique(np.asarray(experiment.sde.s(times)).round(5)), levels[::-1], rtol=1e-3)
    np.testing.assert_allclose(experiment.sampler()["schedule"][:-1], levels, rtol=1e-6)
    assert set(np.asarray(experiment.prediction.label(experiment.sde, times)).tolist()) == set(range(10))
    # The paper's step size, eq. of algorithm 1: 2e-5 at the smallest level.
    corrector = experiment.sampler()["solver"].corrector
    assert isinstance(experiment.sampler()["solver"].solver, sampling.Hold)
    np.testing.assert_allclose(2 * (corrector.snr * 0.01) ** 2, 2e-5, rtol=0.01)


def test_ddpm_is_trained_at_its_thousand_levels():
    experiment = make(configs.ddpm.get_config())
    times = experiment.times(jax.random.key(0), experiment.sde, 4000)
    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    found = np.square(np.asarray(experiment.sde.alpha(times)))
    nearest = np.abs(np.log(found)[:, None] - np.log(alpha_bar)).argmin(axis=1)
    np.testing.assert_allclose(found, alpha_bar[nearest], rtol=1e-3)
    assert len(np.unique(nearest)) > 950


@pytest.mark.parametrize(
    "variant, fields, message",
    [
        ("smoke", {"matching.name": "slices"}, "did you mean 'sliced'"),
        ("smoke", {"matching.slices": 0}, "slices must be at least 1, got 0"),
        ("smoke", {"matching.name": "finite_difference", "matching.step": -1.0}, "step must be > 0, got -1.0"),
        ("smoke", {"matching.step": 0.1}, "options of matching 'sliced_vr'"),
        ("smoke", {"matching.name": "denoising", "matching.slices": 2}, "options of matching 'denoising'"),
        ("smoke", {"matching.projection": "gausian"}, "did you mean 'gaussian'"),
        ("smoke", {"times.name": "levels", "times.levels": 1}, "times.levels must be at least 2, got 1"),
        ("smoke", {"times.name": "levels", "times.schedule": "discrete_vp"}, "rates beta_min and beta_max"),
        ("density", {"matching.name": "denoising"}, "finite_difference, implicit, sliced, sliced_vr, got 'denoising'"),
        ("density", {"sampling.solver": "euler"}, "solver 'annealed_langevin'"),
    ],
)
def test_what_is_not_allowed_is_refused_before_training(variant, fields, message):
    config = configs.ssm.get_config(variant)
    with config.unlocked():
        config.update_from_flattened_dict(fields)
    with pytest.raises(ValueError, match=message):
        make(config)


def test_an_energy_of_images_is_refused_for_vectors():
    config = configs.energy.get_config("smoke")
    config.network.name = "energy_unet"
    with pytest.raises(ValueError, match="works on images"):
        Experiment.from_config(config)
