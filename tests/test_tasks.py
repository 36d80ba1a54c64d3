"""Inverse problems by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.default import get_config
from sgm_jax import inverse
from sgm_jax.sampling import Hold, Langevin, PredictorCorrector, langevin_levels
from sgm_jax.tasks import METHODS, TASKS, make_problem, measure, shown, with_singular_vectors


def problem(shape=(8, 8, 1), **changes):
    section = get_config().inverse
    section.update(changes)
    return make_problem(jax.random.key(0), section, shape)


@pytest.mark.parametrize(
    "task", [pytest.param(t, marks=pytest.mark.slow) if t == "compressed_sensing" else t for t in TASKS]
)
def test_every_task_measures_images_and_shows_them(task):
    shape = (16, 16, 3) if task == "colorize" else (16, 16, 1)
    options = {"acceleration": 2.0} if task == "mri" else {}
    operator, _ = problem(shape, task=task, method="dps", noise_std=0.1, **options)
    x = jax.random.uniform(jax.random.key(1), (2, *shape))
    y = measure(jax.random.key(2), operator, x)
    assert y.shape == (2, *operator.measured.shape)
    picture = shown(operator, y[0], -1.0)
    assert picture.shape == shape and bool(jnp.all(jnp.isfinite(picture)))


def test_what_a_task_shows_of_a_mask_is_the_known_half():
    operator, _ = problem(mask="right_half")
    x = jax.random.normal(jax.random.key(1), (1, 8, 8, 1))
    picture = shown(operator, measure(jax.random.key(2), operator, x)[0], -1.0)
    np.testing.assert_array_equal(picture, x[0].at[:, 4:].set(0))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_suits_a_task_whose_singular_vectors_can_be_found(method):
    operator, options = problem(task="ct", method=method, angles=2)
    assert isinstance(with_singular_vectors(operator), options["method"].needs)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (dict(task="inpainting"), "inverse.task must be one of .*, got 'inpainting'; did you mean 'inpaint'"),
        (dict(method="ddmr"), "got 'ddmr'; did you mean 'ddrm'"),
        (dict(angles=3), "options of inverse.task 'inpaint' and method 'replacement' must be one of mask, .*'angles'"),
        (dict(mask="half"), "inverse.mask must be one of .*, got 'half'"),
        (dict(task="jpeg"), "'replacement' needs a linear task, got 'jpeg'"),
        (dict(task="phase_retrieval", method="ddrm"), "'ddrm' needs a spectral task, got 'phase_retrieval'"),
        (dict(task="colorize"), r"needs images with colours, got data of shape \(8, 8, 1\)"),
        (dict(task="super_resolution", factor=3), "factor"),
        (dict(task="compressed_sensing", share=0.0), "inverse.share must lie between 1 / 64 and 1, got 0.0"),
        (dict(noise_std=-1.0), "noise_std must be finite and at least 0, got -1.0"),
        (dict(method="dps", sampler="langevin"), "inverse.sampler needs method .*, got 'dps'"),
        (dict(method="projection", sampler="langvin"), "'langvin'; did you mean 'langevin'"),
        (dict(method="dps", scale=-1.0), "scale must be >= 0, got -1.0"),
    ],
)
def test_bad_problems_are_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        problem(**changes)


@pytest.mark.parametrize("method", ["annealed_langevin", "projection"])
def test_a_sampler_takes_the_langevin_steps_that_the_config_asks_for(method):
    section = dict(method=method, snr=0.25, corrector_steps=3)
    corrector = Langevin(snr=0.25, steps=3)
    _, langevin = problem(sampler="langevin", **section)
    assert langevin["solver"] == PredictorCorrector(Hold(), corrector)
    assert langevin["schedule"] is langevin_levels
    _, both = problem(sampler="predictor_corrector", **section)
    assert both["solver"] == PredictorCorrector(corrector=corrector)


def test_a_known_decomposition_is_left_alone():
    operator = inverse.Mask(jnp.ones((4, 4, 1)), (4, 4, 1))
    assert with_singular_vectors(operator) is operator
