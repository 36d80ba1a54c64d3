"""Samplers compared by the launcher: each row is what that sampler draws and costs, and what cannot be is refused."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from configs import mnist, toy
from sgm_jax import modes, sampling
from sgm_jax.experiment import Experiment
from sgm_jax.modes import comparison
from sgm_jax.training import Checkpoints

WAYS = {
    "solver=ddim,steps=3,final=none": {"solver": "ddim", "steps": 3, "final": "none"},
    "solver=heun, steps=2": {"solver": "heun", "steps": 2},
    "process=reverse_sde,solver=ancestral,variance=large,steps=3": {
        "process": "reverse_sde",
        "solver": "ancestral",
        "variance": "large",
        "steps": 3,
    },
}


@pytest.mark.slow
def test_every_row_is_of_its_sampler(tmp_path, monkeypatch):
    config = mnist.get_config("smoke")
    config.data.name = "digits"
    config.sampling.count, config.sampling.batch_size = 4, 4
    config.sampling.order = 2  # an option of the config's own solver alone
    config.sampling.compared = tuple(WAYS)
    experiment = Experiment.from_config(config)
    with Checkpoints(tmp_path) as checkpoints:
        state = dataclasses.replace(experiment.init(), step=np.asarray(1))
        checkpoints.save(state, {}, config.to_dict())
        checkpoints.wait()
    judged = []

    def judge(experiment, samples, judge):
        judged.append(samples)
        return {"frechet": float(len(judged)), "frechet_floor": 0.5, "confident": 0.9}

    monkeypatch.setattr(comparison, "train_judge", lambda experiment: None)
    monkeypatch.setattr(comparison, "measure_quality", judge)
    assert modes.compare_samplers(experiment, tmp_path) == 0
    rows = json.loads((tmp_path / "samplers.json").read_text())
    assert [(row["sampler"], row["frechet"]) for row in rows] == [(way, i + 1) for i, way in enumerate(WAYS)]
    for changes, samples, row in zip(WAYS.values(), judged, rows, strict=True):
        config.sampling.update({"order": None} | changes)
        config.sampling.final = changes.get("final", "tweedie")
        config.sampling.variance = changes.get("variance")
        own = Experiment.from_config(config)
        np.testing.assert_array_equal(samples, modes.draw(own, tmp_path, state.ema_params, 4))
        out = sampling.sample(
            jax.random.key(0), own.process(state.ema_params), (1, *own.dataset.shape), **own.sampler()
        )
        assert row["evaluations"] == out.nfe
    page = (tmp_path / "samplers" / "index.html").read_text()
    assert all(way.replace(",", ", ") in page for way in WAYS) and (tmp_path / "samplers" / "samplers.png").exists()


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ("solver=huen,steps=3", "sampling.solver must be one of .* got 'huen'; did you mean 'heun'"),
        ("solver=heun,step=3", "a field must be one of .* got 'step'; did you mean 'steps'"),
        ("heun", "must be field=value,field=value, got 'heun'"),
        ("solver=heun,steps=0", "sampling.steps must be at least 1, got 0"),
        ("solver=heun,steps=many", "sampling.compared 'solver=heun,steps=many'"),
        ("solver=heun,variance=small", "options of sampling.solver 'heun' .* got 'variance'"),
    ],
)
def test_what_cannot_be_compared_is_refused(given, match):
    experiment = Experiment.from_config(toy.get_config("smoke").lock())
    with pytest.raises(modes.Unsuitable, match=match):
        comparison.with_sampling(experiment, given)
