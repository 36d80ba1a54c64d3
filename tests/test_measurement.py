"""The launcher's likelihoods of a split: the very same whatever interrupts them, and what is averaged."""

import dataclasses
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgm_jax import likelihood, modes
from sgm_jax.data import ArraySource
from sgm_jax.experiment import Experiment
from sgm_jax.likelihood import Likelihood
from sgm_jax.scaling import Scaling

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from configs.toy import get_config


@pytest.fixture(scope="module")
def model():
    """An experiment on 11 held-out examples of two integers below 16, with parameters that are not trained."""
    config = get_config("smoke")
    config.likelihood.update(count=None, batch_size=4, repeats=4, rtol=1e-4, atol=1e-4)
    experiment = Experiment.from_config(config)
    integers = ArraySource(np.random.default_rng(0).integers(0, 16, (11, 2)).astype(np.uint8))
    dataset = dataclasses.replace(experiment.dataset, test=integers, levels=16)
    experiment = dataclasses.replace(experiment, dataset=dataset, scaling=Scaling(16))
    return experiment, jax.tree.map(lambda p: p + 0.01, experiment.init().ema_params)


def folder(parent, name):
    (parent / name).mkdir()
    return parent / name


def same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_a_killed_measurement_goes_on_to_the_very_same_result(model, tmp_path, monkeypatch, capsys):
    experiment, params = model
    (tmp_path / "whole").mkdir()
    whole = modes.measure_likelihood(experiment, tmp_path / "whole", params)
    assert whole["examples"] == 11 and whole["per_example"].shape == (11,)

    calls, original = [], modes.likelihood.log_likelihood

    def counted(*arguments):
        calls.append(arguments)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(modes.likelihood, "log_likelihood", counted)
    with pytest.raises(KeyboardInterrupt):
        modes.measure_likelihood(experiment, tmp_path, params)
    with (tmp_path / "likelihood.jsonl").open("a") as file:
        file.write('{"log_probability": [1.0, ')  # killed while it wrote
    assert same(modes.measure_likelihood(experiment, tmp_path, params), whole)
    assert len(calls) == 6 + 12 - 5
    assert same(modes.measure_likelihood(experiment, tmp_path, params), whole)
    assert len(calls) == 13 and "anew" not in capsys.readouterr().out

    modes.measure_likelihood(experiment, tmp_path, jax.tree.map(lambda p: 0.9 * p, params))
    assert len(calls) == 25 and "(parameters): starting anew" in capsys.readouterr().out


def test_importance_weighting_bounds_better_than_the_mean_of_the_same_draws(model, tmp_path):
    experiment, params = model
    section = experiment.config.likelihood
    mean = modes.measure_likelihood(experiment, tmp_path, params)
    section.update(repeats=1, importance=4)
    weighted = modes.measure_likelihood(experiment, tmp_path, params)
    section.update(repeats=4, importance=1)
    assert (weighted["per_example"] <= mean["per_example"]).all()


def test_randomness_belongs_to_examples_and_not_to_their_batches(model, tmp_path, monkeypatch):
    experiment, params = model

    def drawn(keys, sde, score_fn, x, **options):
        # In place of the solver, whose steps suit a whole batch, what it is given.
        probes = jax.vmap(lambda key: jax.random.normal(key))(keys)
        return Likelihood(x.sum(axis=1) + probes, None, x, jnp.array(1))

    monkeypatch.setattr(likelihood, "log_likelihood", drawn)
    by_four = modes.measure_likelihood(experiment, folder(tmp_path, "four"), params)
    experiment.config.likelihood.batch_size = 11
    at_once = modes.measure_likelihood(experiment, folder(tmp_path, "eleven"), params)
    experiment.config.likelihood.batch_size = 4
    np.testing.assert_array_equal(at_once["per_example"], by_four["per_example"])


def test_what_cannot_be_measured_is_refused(model, tmp_path):
    experiment, params = model
    experiment.config.likelihood.importance = 2
    continuous = dataclasses.replace(experiment, scaling=Scaling(None))
    with pytest.raises(modes.Unsuitable, match="importance must be 1 for continuous data, got 2"):
        modes.measure_likelihood(continuous, tmp_path, params)
    experiment.config.likelihood.importance = 1


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("split", "tset", "did you mean 'test'"),
        ("divergence", "hutch+", "did you mean 'hutch\\+\\+'"),
        ("divergence", "exact", "probes"),
        ("repeats", 0, "repeats must be at least 1, got 0"),
    ],
)
def test_bad_configs_are_refused(field, value, match):
    config = get_config("smoke")
    config.likelihood[field] = value
    with pytest.raises(ValueError, match=match):
        Experiment.from_config(config)
