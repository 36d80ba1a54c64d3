"""The smoke variant of every config of a paper, end to end: trained, sampled, evaluated.

Nearly all of the time goes into compiling. Equal programs are compiled once, for they are kept in a folder that all
processes share.
"""

import json

import jax
import numpy as np
import pytest
from test_configs import NAMES, get_config

from sgm_jax import meshes, modes, teachers
from sgm_jax.run import OBJECTIVES
from sgm_jax.training import read_metrics

ON_ALL_DEVICES = "edm/cifar10_cond_vp"  # the others on one, for which less is compiled


@pytest.fixture(scope="module", autouse=True)
def kept_programs(tmp_path_factory, worker_id):
    folder = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    options = {
        "jax_compilation_cache_dir": jax.config.jax_compilation_cache_dir or str(folder / "programs"),
        "jax_persistent_cache_min_compile_time_secs": 0.2,
    }
    before = {name: getattr(jax.config, name) for name in options}
    for name, value in options.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def trained_teacher(workdir, folder):
    """Train the teacher that a config finds in `workdir`, where its own config puts it, and return its folder."""
    folder.mkdir()
    config = get_config(workdir.removeprefix("runs/"), "smoke").lock()
    assert modes.train(OBJECTIVES[config.objective][0].from_config(config), folder) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_smoke_variant_trains_samples_and_evaluates(name, tmp_path, monkeypatch):
    if name != ON_ALL_DEVICES:
        monkeypatch.setattr(modes.training, "training_mesh", lambda config: meshes.make_mesh(devices=jax.devices()[:1]))
    config = get_config(name, "smoke")
    if config.objective == "consistency" and config.distillation.teacher is not None:
        config.distillation.teacher = str(trained_teacher(config.distillation.teacher, tmp_path / "teacher"))
    experiment = teachers.attach(OBJECTIVES[config.objective][0].from_config(config.lock()))
    assert modes.train(experiment, tmp_path) == 0
    assert modes.sample(experiment, tmp_path) == 0
    assert modes.evaluate(experiment, tmp_path) == 0
    row = read_metrics(tmp_path / "metrics.jsonl")[-1]
    assert row["step"] == 2 and np.isfinite([row["loss"], row["eval_loss"]]).all()
    with np.load(tmp_path / "samples.npz") as samples:
        assert samples["x"].shape == (config.sampling.count, *experiment.dataset.shape)
    figures = json.loads((tmp_path / "evaluation.json").read_text())
    assert figures["samples"] == config.sampling.count and np.isfinite(figures["sliced_wasserstein"])
