"""Evaluation from the launcher's modes, in the features of a function that costs nothing."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from inception_weights import random_state_dict
from PIL import Image
from processes import HURRIED
from stand_ins import corners, store

from configs import mnist, toy
from sgm_jax import modes
from sgm_jax.convert.inception import InceptionWeights, from_state_dict
from sgm_jax.convert.inception import save as save_weights
from sgm_jax.evaluation import Extractor, statistics
from sgm_jax.experiment import Experiment
from sgm_jax.modes import features, inverse, reproduction

COUNT = 24


@pytest.fixture
def experiment(monkeypatch):
    config = mnist.get_config("smoke")
    config.data.name = "digits"
    config.sampling.steps = 3
    config.sampling.batch_size = 8
    config.evaluation.features = "inception"
    config.evaluation.count = COUNT
    config.evaluation.save_every = 1
    monkeypatch.setattr(features, "extractor", lambda experiment: Extractor("corners", corners, batch_size=64))
    return Experiment.from_config(config)


@pytest.fixture
def drawn_at_once(monkeypatch):
    """Put images that follow from the parameters and the stream of randomness in place of samples."""

    def batches(experiment, workdir, params, count, *, start=0, randomness):
        seed = int(1e3 * abs(float(jax.tree.leaves(params)[0].sum())))
        images = np.random.default_rng([seed, randomness]).integers(0, 256, (count, 8, 8, 1), np.uint8)
        return iter([images[start:]])

    monkeypatch.setattr(features, "batches", batches)


@pytest.mark.slow
def test_killed_evaluation_gives_the_same_figures_and_statistics_serve_again(experiment, tmp_path, monkeypatch):
    experiment.config.evaluation.metrics = ("fid", "sfid", "inception_score", "kid", "precision_recall")
    for name in ("whole", "killed"):
        store(experiment, tmp_path / name)
    assert modes.evaluate(experiment, tmp_path / "whole") == 0
    drawn, batches = [], features.batches

    def interrupted(*args, **kwargs):
        for images in batches(*args, **kwargs):
            drawn.append(len(images))
            if len(drawn) == 2:
                raise KeyboardInterrupt
            yield images

    monkeypatch.setattr(features, "batches", interrupted)
    with pytest.raises(KeyboardInterrupt):
        modes.evaluate(experiment, tmp_path / "killed")
    assert modes.evaluate(experiment, tmp_path / "killed") == 0
    assert drawn == [8, 8, 8, 8]  # the second was drawn twice
    whole, killed = (json.loads((tmp_path / name / "evaluation.json").read_text()) for name in ("whole", "killed"))
    assert killed == pytest.approx(whole) and whole["samples"] == COUNT

    # The statistics that mode `stats` writes are what was compared with.
    assert modes.measure_statistics(experiment, tmp_path / "whole") == 0
    path = tmp_path / "whole" / "statistics.npz"
    assert statistics.load(path).pool.count == whole["data"] == len(experiment.dataset.train)
    experiment.config.evaluation.statistics = str(path)
    modes.evaluate(experiment, tmp_path / "whole")
    assert json.loads((tmp_path / "whole" / "evaluation.json").read_text()) == pytest.approx(whole)
    monkeypatch.setattr(features, "extractor", lambda experiment: Extractor("edges", corners))
    with pytest.raises(ValueError, match="features 'edges', got those of 'corners'"):
        modes.evaluate(experiment, tmp_path / "whole")


@pytest.mark.slow
def test_evaluation_killed_by_force_goes_on_to_the_very_same_figures(tmp_path):
    config, count = mnist.get_config("smoke"), 5
    options = {
        "data": {"name": "generated", "size": 8, "channels": 1, "count": 8},
        "sampling": {"steps": 2, "batch_size": 1},
        "evaluation": {"features": "inception", "count": count, "batch_size": 1, "save_every": 1, "keep": 8},
    }
    options["evaluation"]["weights"] = str(tmp_path / "inception.safetensors")
    for section, fields in options.items():
        config[section].update(fields)
    save_weights(InceptionWeights(from_state_dict(random_state_dict()), "random"), tmp_path / "inception.safetensors")
    store(Experiment.from_config(config), tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    command = [sys.executable, "launch.py", "--config=configs/mnist.py:smoke", "--mode=evaluate"]
    command += [
        f"--config.{section}.{name}={value}" for section, part in options.items() for name, value in part.items()
    ]
    # What was compiled, however fast, serves again; what was measured does not.
    programs = tmp_path / "programs"
    every = {"JAX_COMPILATION_CACHE_DIR": str(programs), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    environment = os.environ | {"XLA_FLAGS": HURRIED, **every}

    def start(name):
        return subprocess.Popen(
            [*command, f"--workdir={tmp_path / name}"],
            cwd=pathlib.Path(__file__).parents[1],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    assert start("whole").wait(timeout=300) == 0
    assert any(programs.iterdir()) and not (tmp_path / "whole" / "cache").exists()
    process, folder = start("killed"), tmp_path / "killed"
    kept = lambda: [path for path in (folder / "evaluation").glob("*_*.npz") if "partial" not in path.name]
    until = time.monotonic() + 300
    while not kept() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    with np.load(kept()[0]) as file:
        assert 0 < file["done"] < count
    assert not (folder / "evaluation.json").exists()
    assert start("killed").wait(timeout=300) == 0
    whole, killed = (json.loads((tmp_path / name / "evaluation.json").read_text()) for name in ("whole", "killed"))
    assert killed == whole and whole["samples"] == count and whole["fid"] > 0


@pytest.mark.slow
def test_best_checkpoint_is_measured_with_other_samples(experiment, drawn_at_once, tmp_path):
    experiment.config.evaluation.checkpoints = "all"
    store(experiment, tmp_path, (1, 2))
    assert modes.evaluate(experiment, tmp_path) == 0
    found = json.loads((tmp_path / "selection.json").read_text())
    by_step = {row["step"]: row["fid"] for row in found["checkpoints"]}
    assert list(by_step) == [1, 2] and found["best"] == min(by_step, key=by_step.get)
    # Not the least of those it was chosen by, but what a plain evaluation of that checkpoint gives.
    assert found["figures"]["fid"] != by_step[found["best"]]
    experiment.config.evaluation.checkpoints = "latest"
    store(experiment, tmp_path / "alone", (found["best"],))
    modes.evaluate(experiment, tmp_path / "alone")
    alone = json.loads((tmp_path / "alone" / "evaluation.json").read_text())
    assert alone["fid"] == pytest.approx(found["figures"]["fid"])
    assert (tmp_path / "selection" / "index.html").exists()


@pytest.mark.slow
def test_figures_are_set_beside_published_ones(experiment, drawn_at_once, tmp_path, capsys):
    store(experiment, tmp_path)
    with pytest.raises(modes.Unsuitable, match="config.published, got none"):
        modes.reproduce(experiment, tmp_path)
    experiment.config.published.fid = 100.0
    experiment.config.published.inception_score = 1.0
    assert modes.reproduce(experiment, tmp_path) == 0
    rows = {row["name"]: row for row in json.loads((tmp_path / "reproduction.json").read_text())}
    assert not rows["fid"]["agrees"] and rows["fid"]["published"] == 100.0
    assert "differs" in capsys.readouterr().out


@pytest.mark.slow
def test_points_are_judged_beside_real_ones(tmp_path):
    config = toy.get_config("smoke")
    config.evaluation.features = "points"
    config.sampling.steps = 3
    experiment = Experiment.from_config(config)
    store(experiment, tmp_path)
    assert modes.evaluate(experiment, tmp_path) == 0
    found = json.loads((tmp_path / "evaluation.json").read_text())
    assert found["samples"] == 200
    # An untrained network's samples are far from the data, which are near each other.
    assert found["wasserstein"] > 2 * found["wasserstein_floor"] and found["c2st"] > found["c2st_floor"]


def test_fewer_samples_mean_a_larger_figure_and_a_wider_tolerance():
    figures = {"samples": 5000, "fid": 5.2, "fid_standard_error": 0.2, "fid_slope": 10_000.0}
    row = reproduction.compare("fid", figures, 3.4)
    # 10,000 / 5,000 - 10,000 / 50,000 is what 5,000 samples add.
    assert row.expected == pytest.approx(3.4 + 1.8) and row.agrees
    assert row.tolerance == pytest.approx(0.4 * np.sqrt(1.1))
    assert not reproduction.compare("fid", figures, 2.9).agrees


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("metrics", ("fdi",), "did you mean 'fid'"),
        ("variant", "tf", "fid, tfgan"),
        ("resize", "bicubic", "clean"),
        ("count", 0, "evaluation.count must be at least 1, got 0"),
        ("checkpoints", "best", "latest, all"),
        ("features", "inception", "metric 'fid' needs at least 3 samples, got 2"),
    ],
)
def test_evaluation_is_checked_before_training(field, value, words):
    config = mnist.get_config("smoke")
    config.sampling.count = 2
    with config.unlocked():
        config.evaluation[field] = value
    with pytest.raises(ValueError, match=words):
        Experiment.from_config(config)


def test_own_images_to_restore_are_one_or_those_of_a_folder(experiment, tmp_path):
    for number in range(3):
        Image.fromarray(np.full((9, 20, 3), 50 * number, np.uint8)).save(tmp_path / f"{number}.png")
    for path, values in ((tmp_path / "2.png", [100]), (tmp_path, [0, 50, 100])):
        experiment.config.inverse.input = str(path)
        x, label = inverse.images(experiment)
        assert x.shape == (len(values), 8, 8, 1) and x[:, 0, 0, 0].tolist() == values and label is None
    experiment.config.inverse.input = str(tmp_path / "3.png")
    with pytest.raises(modes.Unsuitable, match="inverse.input cannot be used: path must .*.*3.png', nothing there"):
        inverse.images(experiment)


def test_unsuitable_data_are_refused(tmp_path):
    experiment = Experiment.from_config(toy.get_config("smoke"))
    with pytest.raises(modes.Unsuitable, match="Inception looks at 8-bit images"):
        modes.measure_statistics(experiment, tmp_path)
    with pytest.raises(modes.Unsuitable, match="features to inception or points"):
        modes.train_judge(experiment)
