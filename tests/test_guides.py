"""Guidance by models in other folders: what it does to the score, and what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.toy import get_config
from sgm_jax import guides, modes
from sgm_jax.experiment import Experiment
from sgm_jax.training import Checkpoints

CLASSES = 3


@pytest.fixture
def config(tmp_path):
    label = np.arange(60) % CLASSES
    np.savez(tmp_path / "data.npz", x=np.repeat(label[:, None], 2, axis=1).astype(np.float32), label=label)
    config = get_config("smoke")
    config.data.name = "arrays"
    config.data.path = str(tmp_path / "data.npz")
    config.network.num_classes = CLASSES
    config.sampling.label = "balanced"
    return config


def keep(config, folder):
    """Write a model as training leaves it, and return its parameters: not those that training starts from."""
    folder.mkdir()
    modes.write_json(folder / "config.json", config.to_dict())
    state = Experiment.from_config(config).init()
    state = dataclasses.replace(state, ema_params=jax.tree.map(lambda p: p + 0.05, state.ema_params))
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(state, {}, config.to_dict())
        checkpoints.wait()
    return state.ema_params


def test_a_worse_model_is_moved_away_from_within_the_interval(config, tmp_path):
    worse = keep(config, tmp_path / "worse")
    config.sampling.guide = str(tmp_path / "worse")
    config.sampling.guidance_interval = (0.5, 3.0)
    experiment = guides.attach(Experiment.from_config(config))
    params, label = experiment.init().params, jnp.array([0, 1, 2])
    t, x = experiment.sde.t(jnp.array([0.2, 1.0, 5.0])), jax.random.normal(jax.random.key(0), (3, 2))
    plain, other = (experiment.score_fn(p, label)(t, x) for p in (params, worse))
    expected = jnp.where(jnp.array([[False], [True], [False]]), other + 2 * (plain - other), plain)
    np.testing.assert_allclose(experiment.guided_score_fn(params, label, 2.0)(t, x), expected, rtol=1e-5)
    assert jnp.abs(plain - other).max() > 1e-2


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"sampling.guide": "nowhere"},
            "sampling.guide must be the folder of a trained model, or one of mnist, got 'nowhere'",
        ),
        ({"sampling.classifier": "model"}, "must be the folder of a classifier, got 'model' of 'score'"),
        ({"sampling.classifier": "model", "sampling.guide": "model"}, "exclude each other, got 'model' and 'model'"),
        ({"sampling.classifier": "model", "sampling.label": None}, "needs a sampling.label, got 'model'"),
        ({"sampling.guidance_interval": (2.0, 1.0)}, r"with 0 <= low < high, got \(2.0, 1.0\)"),
        ({"sampling.guidance_interval": (1.0,)}, r"two noise levels .* got \(1.0,\)"),
        ({"sampling.guide": "model", "sde.t_min": 0.01}, "must have the model's SDE EDM.*t_min=0.01"),
        ({"sampling.guide": "model", "data.high": 2.0}, "must have the model's scaling of data"),
    ],
)
def test_what_cannot_guide_is_refused(config, tmp_path, monkeypatch, changes, match):
    monkeypatch.chdir(tmp_path)
    if changes.get("sampling.guide") == "model" and "sampling.classifier" not in changes:
        keep(config, tmp_path / "model")
    elif "sampling.classifier" in changes:
        (tmp_path / "model").mkdir()
        modes.write_json(tmp_path / "model" / "config.json", config.to_dict())
    config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=match):
        guides.attach(Experiment.from_config(config))
