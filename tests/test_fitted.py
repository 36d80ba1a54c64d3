"""Fits on disk: what comes back is what was saved, and only for what it was made for."""

import jax
import numpy as np
import pytest
from closed_form import Gaussian

import sgm_jax as sgm
from configs.toy import get_config
from sgm_jax import fitted, modes, stored
from sgm_jax.experiment import Experiment
from sgm_jax.sampling import DPMSolverPP, FittedSampler, TabulatedMultistep, adams_bashforth
from sgm_jax.training import Checkpoints

SDE = sgm.EDM()
LEVELS = np.append(sgm.karras(SDE, 4), 0.0)


@pytest.mark.parametrize("solver", [DPMSolverPP(3), TabulatedMultistep(adams_bashforth(LEVELS, memory=5) + 0.01)])
def test_a_loaded_sampler_draws_what_the_saved_one_does(tmp_path, solver):
    saved = FittedSampler(LEVELS, solver, "none", -1.0, -2.5)
    fitted.save_fitted(tmp_path / "fit.npz", saved, {"model": "a", "steps": 5})
    start = solver if isinstance(solver, DPMSolverPP) else TabulatedMultistep(adams_bashforth(LEVELS, memory=5))
    loaded = fitted.load_fitted(tmp_path / "fit.npz", start, {"steps": 5, "model": "a"})
    assert (loaded.final, loaded.before, loaded.after) == ("none", -1.0, -2.5)
    process = sgm.ProbabilityFlow(SDE, Gaussian().score_fn(SDE))

    def draw(fit):
        options = dict(solver=fit.solver, schedule=fit.schedule, final=fit.final)
        return sgm.sample(jax.random.key(0), process, (4, 3), **options).x

    np.testing.assert_array_equal(draw(loaded), draw(saved))


def test_a_fit_for_something_else_is_refused(tmp_path):
    table = TabulatedMultistep(adams_bashforth(LEVELS, memory=5))
    fitted.save_fitted(tmp_path / "fit.npz", FittedSampler(LEVELS, table, "none", 0.0, 0.0), {"a": 1, "b": None})
    with pytest.raises(fitted.FitMismatch, match=r"a 1 \(now 2\)$"):
        fitted.load_fitted(tmp_path / "fit.npz", table, {"a": 2, "b": None})
    with pytest.raises(fitted.FitMismatch, match=r"\(5, 5\).*\(5, 2\)"):
        shorter = TabulatedMultistep(adams_bashforth(LEVELS))
        fitted.load_fitted(tmp_path / "fit.npz", shorter, {"a": 1, "b": None})
    with pytest.raises(FileNotFoundError):
        fitted.load_fitted(tmp_path / "absent.npz", table, {})


def experiment(**options):
    config = get_config("smoke")
    config.fit.count = 4
    config.sampling.update(dict(schedule="fitted", steps=4, count=20, batch_size=20) | options)
    return Experiment.from_config(config)


@pytest.mark.slow
def test_a_run_fits_once_and_samples_with_the_fit(tmp_path):
    chosen = experiment(solver="tabulated", to_zero=True, final="none", s_min=0.05)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(chosen.init(), data={}, config={})
    with pytest.raises(fitted.FitMismatch, match="no .*fitted_tabulated_4.npz; the same command with --mode=fit"):
        modes.sample(chosen, tmp_path)
    assert modes.fit(chosen, tmp_path) == 0 and fitted.is_there(chosen, tmp_path)
    start, fit = chosen.sampler(), fitted.sampler(chosen, tmp_path)
    assert np.all(fit["schedule"][[0, -1]] == start["schedule"][[0, -1]])
    assert not np.allclose(fit["solver"].weights, start["solver"].weights)
    assert modes.sample(chosen, tmp_path) == 0
    params = stored.parameters(chosen, tmp_path)
    keys = sgm.shapes.per_example_keys(modes.stream(chosen, modes.SAMPLES), 20)
    expected = sgm.sample(keys, chosen.process(params), (20, 2), **fit).x
    np.testing.assert_allclose(np.load(tmp_path / "samples.npz")["x"], expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(fitted.FitMismatch, match=r"sampling.s_min 0.05 \(now 0.1\); the same command with --mode=fit"):
        modes.sample(experiment(solver="tabulated", to_zero=True, final="none", s_min=0.1), tmp_path)
    assert not fitted.is_there(experiment(), tmp_path)
    with pytest.raises(modes.Unsuitable, match="'karras'"):
        modes.fit(experiment(schedule="karras"), tmp_path)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (dict(process="reverse_sde", solver="sa_solver"), "probability_flow"),
        (dict(final="none"), "needs final 'tweedie', got 'none'"),
        (dict(steps=None, rtol=1e-3, atol=1e-3, solver="tsit5"), "a number of steps"),
        (dict(schedule="fited"), "did you mean 'fitted'"),
    ],
)
def test_what_cannot_be_fitted_is_refused_before_training(options, match):
    with pytest.raises(ValueError, match=match):
        experiment(**options)
