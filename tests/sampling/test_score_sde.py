import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgm_jax as sgm
from sgm_jax.sampling.corrector import Langevin, PredictorCorrector, annealed_step, batch_mean_step
from sgm_jax.sampling.noise import Recorded
from sgm_jax.sampling.score_sde import (
    ScoreSDEAncestral,
    ScoreSDEEulerMaruyama,
    ScoreSDEReverseDiffusion,
    ScoreSDEStep,
    markov_chain,
    score_sde_schedule,
)
from sgm_jax.shapes import expand, per_example_keys

RECORDED = np.load(pathlib.Path(__file__).parents[1] / "data" / "sde_steps.npz")
SDES = {"ve": sgm.VE(0.01, 50.0), "vp": sgm.VP(0.1, 20.0), "subvp": sgm.SubVP(0.1, 20.0)}
STEPS = 1000
PREDICTORS = {
    "EulerMaruyama": (ScoreSDEEulerMaruyama, 1.0),
    "ReverseDiffusion": (ScoreSDEReverseDiffusion, 1.0),
    "ReverseDiffusion_pf": (ScoreSDEReverseDiffusion, 0.0),
    "AncestralSampling": (ScoreSDEAncestral, 1.0),
}


def assert_equals_record(ours, expected, start, mean):
    # Relative to the terms of the sum. VE's table is rounded in the record: differences of float32 squares, 1e-5 off.
    terms = np.abs(start) + 2 * np.abs(mean - start) + np.abs(expected - mean)
    assert np.max(np.abs(ours - expected) / terms) < 1e-5


def recorded_score(t, x):
    return -(x - 0.3) / (1.7 + expand(t, x) ** 2)


def record(name, *keys):
    return [jnp.asarray(RECORDED[f"{name}/{key}"]) for key in keys]


@pytest.mark.parametrize("name", SDES)
@pytest.mark.parametrize("predictor", PREDICTORS)
def test_one_step_of_each_predictor_equals_the_recorded_one(name, predictor):
    if f"{name}/{predictor}/x" not in RECORDED.files:
        pytest.skip("the reference has no ancestral sampling for sub-VP")
    sde, (solver, eta) = SDES[name], PREDICTORS[predictor]
    t, x, z, mean, expected = record(name, "t", "x", "z", f"{predictor}/x_mean", f"{predictor}/x")

    def step(t, end, x, z):
        process = sgm.ReverseSDE(sde, recorded_score, eta)
        # A step that ends at zero noise gives the mean, in the data's own scale.
        schedule = jnp.stack([sde.s(t), jnp.where(end > 0, sde.s(end), 0.0)])
        options = dict(solver=solver(STEPS), schedule=schedule, noise=Recorded(z[None, None]), final="none")
        return sgm.sample(jax.random.key(0), process, (1, *x.shape), x_init=x[None], **options).x[0]

    steps = jax.jit(jax.vmap(step))
    assert_equals_record(steps(t, jnp.zeros_like(t), x, z), mean, x, mean)
    end = 0.9 * t
    assert_equals_record(steps(t, end, x, z) * expand(sde.alpha(end), x), expected, x, mean)


@pytest.mark.parametrize("name", ["ve", "vp"])
def test_forward_chain_equals_the_recorded_one(name):
    t, x, drift, spread = record(name, "t", "x", "discrete_f", "discrete_G")
    keep, ours = markov_chain(SDES[name], t, STEPS)
    np.testing.assert_allclose(ours, spread, rtol=1e-5)
    np.testing.assert_allclose(expand(keep - 1, x) * x, drift, rtol=1e-5, atol=2e-7)


@pytest.mark.parametrize("name", ["ve", "vp"])
@pytest.mark.parametrize(("corrector", "rule"), [("Langevin", batch_mean_step), ("ALD", annealed_step)])
def test_one_step_of_each_corrector_equals_the_recorded_one(name, corrector, rule):
    # The record couples examples at twelve different times, in their own scale.
    sde = SDES[name]
    t, x, z, mean, expected = record(name, "t", "x", "z", f"{corrector}/x_mean", f"{corrector}/x")
    langevin = Langevin(0.16, step_size=ScoreSDEStep(sde, STEPS, rule), source=Recorded(z[None]))
    process = sgm.ReverseSDE(sde, recorded_score)
    scale = expand(sde.alpha(t), x)
    ours = langevin(process, per_example_keys(jax.random.key(0), len(t)), 0, sde.s(t), x / scale)
    assert_equals_record(ours * scale, expected, x, mean)


def test_sub_vp_has_a_corrector():
    # keep = 1 - beta / (2 N), whose square is VP's alpha_i = 1 - beta_i up to (beta / N)**2 / 4.
    t = jnp.linspace(0.01, 1.0, 5)
    keep, _ = markov_chain(SDES["subvp"], t, STEPS)
    np.testing.assert_allclose(keep**2, 1 - (0.1 + 19.9 * t) / STEPS, atol=1.1e-4)


@pytest.mark.parametrize("steps", [10, 137, 1000])
def test_every_time_of_the_schedule_has_its_own_index(steps):
    for sde in (sgm.VP(0.1, 5.0), sgm.VE()):
        levels = jnp.asarray(score_sde_schedule(sde, steps), jnp.float32)
        _, spread = markov_chain(sde, sde.t(jnp.sqrt(jnp.square(levels[:-1]))), steps)
        if isinstance(sde, sgm.VP):
            variance = np.linspace(0.1 / steps, 5.0 / steps, steps)
        else:
            variance = np.diff(np.geomspace(0.01, 50.0, steps) ** 2, prepend=0.0)
        np.testing.assert_allclose(spread, np.sqrt(variance[::-1]), rtol=2e-5)


SHORT = {"ve": sgm.VE(0.01, 50.0), "vp": sgm.VP(0.1, 5.0), "subvp": sgm.SubVP(0.1, 20.0)}


def published_predictor(name, sde, predictor, i, t, steps):
    """The published step `x_mean = a x + b score`, `x = x_mean + c z`, from the published tables."""
    if name == "ve":
        sigma = np.geomspace(sde.sigma_min, sde.sigma_max, steps)
        below = sigma[i - 1] if i > 0 else 0.0
        gap = sigma[i] ** 2 - below**2
        rate = sde.sigma_min * (sde.sigma_max / sde.sigma_min) ** t * np.sqrt(2 * np.log(sde.sigma_max / sde.sigma_min))
        return {
            "EulerMaruyama": (1.0, rate**2 / steps, rate / np.sqrt(steps)),
            "ReverseDiffusion": (1.0, gap, np.sqrt(gap)),
            "AncestralSampling": (1.0, gap, np.sqrt(below**2 * gap / sigma[i] ** 2)),
        }[predictor]
    beta_t = sde.beta_min + t * (sde.beta_max - sde.beta_min)
    beta = np.linspace(sde.beta_min / steps, sde.beta_max / steps, steps)[i]
    square = beta_t
    if name == "subvp":
        square = beta_t * (1 - np.exp(-2 * sde.beta_min * t - (sde.beta_max - sde.beta_min) * t**2))
    continuous = (1 + 0.5 * beta_t / steps, square / steps, np.sqrt(square / steps))
    if name == "subvp":
        return continuous
    return {
        "EulerMaruyama": continuous,
        "ReverseDiffusion": (2 - np.sqrt(1 - beta), beta, np.sqrt(beta)),
        "AncestralSampling": (1 / np.sqrt(1 - beta), beta / np.sqrt(1 - beta), np.sqrt(beta)),
    }[predictor]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "predictor"),
    [
        ("ve", "ReverseDiffusion"),
        ("ve", "AncestralSampling"),
        ("vp", "ReverseDiffusion"),
        ("vp", "AncestralSampling"),
        ("subvp", "ReverseDiffusion"),
    ],
)
def test_predictor_corrector_run_equals_the_published_loop(name, predictor):
    steps, per_level, snr, sde = 10, 2, 0.16, SHORT[name]
    shape = (4, 3, 2)
    rng = np.random.default_rng(0)
    start, z = rng.standard_normal(shape), rng.standard_normal((steps, *shape))
    corrections = rng.standard_normal((steps * per_level, *shape))
    start = start * (50.0 if name == "ve" else 1.0)
    norm = lambda x: np.linalg.norm(x.reshape(len(x), -1), axis=1).mean()
    score = lambda t, x: -(x - 0.3) / (1.7 + t**2)

    x = start
    times = np.linspace(1.0, 1e-5 if name == "ve" else 1e-3, steps)
    for j, t in enumerate(times):
        i = int(t * (steps - 1))
        beta = 0.0 if name == "ve" else np.linspace(sde.beta_min / steps, sde.beta_max / steps, steps)[i]
        if name == "subvp":
            beta = 1 - (1 - 0.5 * (sde.beta_min + t * (sde.beta_max - sde.beta_min)) / steps) ** 2
        for k in range(per_level):
            noise, g = corrections[j * per_level + k], score(t, x)
            size = 2 * (1 - beta) * (snr * norm(noise) / norm(g)) ** 2
            x = x + size * g + np.sqrt(2 * size) * noise
        a, b, c = published_predictor(name, sde, predictor, i, t, steps)
        mean = a * x + b * score(t, x)
        x = mean + c * z[j]

    single = lambda array: jnp.asarray(array, jnp.float32)
    corrector = Langevin(snr, per_level, ScoreSDEStep(sde, steps), Recorded(single(corrections)))
    out = sgm.sample(
        jax.random.key(0),
        sgm.ReverseSDE(sde, recorded_score),
        shape,
        solver=PredictorCorrector(PREDICTORS[predictor][0](steps), corrector),
        schedule=score_sde_schedule,
        steps=steps,
        x_init=single(start),
        noise=Recorded(single(z)),
        final="none",
    )
    np.testing.assert_allclose(out.x, mean, rtol=1e-4, atol=2e-5 * np.abs(mean).max())
    assert int(out.nfe) == steps * (per_level + 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", SDES)
def test_published_samplers_sample_gaussian_data(name):
    sde, std = SDES[name], 0.5

    def score(t, x):
        return -x / (expand(sde.alpha(t), x) ** 2 * std**2 + expand(sde.sigma(t), x) ** 2)

    options = dict(schedule=score_sde_schedule, steps=300, final="none")
    process = sgm.ReverseSDE(sde, score)
    x = sgm.sample(jax.random.key(0), process, (4000, 2), solver=ScoreSDEReverseDiffusion(300), **options).x
    np.testing.assert_allclose(x.std(), std, rtol=0.05)


@pytest.mark.parametrize(
    ("solver", "sde", "eta", "match"),
    [
        (lambda: ScoreSDEAncestral(30), sgm.SubVP(), 1.0, "VE or VP"),
        (lambda: ScoreSDEAncestral(30), sgm.VP(), 0.5, "got 0.5"),
        (lambda: ScoreSDEReverseDiffusion(20), sgm.VP(), 1.0, "beta_max=20.0"),
        (lambda: ScoreSDEEulerMaruyama(1), sgm.VP(), 1.0, "got 1"),
    ],
)
def test_what_does_not_exist_is_refused(solver, sde, eta, match):
    process = sgm.ReverseSDE(sde, recorded_score, eta)
    with pytest.raises(ValueError, match=match):
        sgm.sample(jax.random.key(0), process, (2, 3), solver=solver(), schedule=score_sde_schedule, steps=30)
    with pytest.raises(ValueError, match="got 1"):
        functools.partial(score_sde_schedule, sde)(1)
