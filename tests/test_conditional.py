"""Labels on their way from the data and the config to the network, which here does nothing but answer with them."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.mnist_conditional import get_config as get_mnist_conditional
from configs.toy import get_config
from sgm_jax import inverse, modes
from sgm_jax.experiment import Experiment
from sgm_jax.score import Denoised

CLASSES = 3


class Told(nn.Module):
    """Predict that every number of an example is its label, `num_classes` where there is none."""

    num_classes: int = CLASSES

    def __call__(self, noise_label, x, label=None, *, deterministic=True):
        label = jnp.full(x.shape[0], self.num_classes) if label is None else label
        return jnp.broadcast_to(label.reshape(-1, *[1] * (x.ndim - 1)), x.shape).astype(x.dtype)


@pytest.fixture
def config(tmp_path):
    """Return a config of vectors that are what the network predicts: the class, twice."""
    label = np.arange(60) % CLASSES
    np.savez(tmp_path / "data.npz", x=np.repeat(label[:, None], 2, axis=1).astype(np.float32), label=label)
    config = get_config("smoke")
    config.data.name = "arrays"
    config.data.path = str(tmp_path / "data.npz")
    config.network.num_classes = CLASSES
    config.sampling.label = "balanced"
    config.sampling.count = 11
    config.sampling.batch_size = 4
    return config


def told(config):
    return dataclasses.replace(Experiment.from_config(config), network=Told(), prediction=Denoised())


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_labels_are_dropped_at_the_rate_asked_for(config, rate):
    config.train.label_dropout = rate
    label = jnp.arange(6000) % CLASSES
    kept = told(config).drop_labels(jax.random.key(0), label)
    dropped = kept == CLASSES
    assert abs(dropped.mean() - rate) <= 4 * np.sqrt(rate * (1 - rate) / label.size)
    np.testing.assert_array_equal(kept[~dropped], label[~dropped])


@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_the_loss_is_that_of_each_example_given_its_own_label(config, rate):
    config.train.label_dropout = rate
    experiment = told(config)
    train = experiment.dataset.train
    batch = {"x": jnp.repeat(train.x, 20, axis=0), "label": jnp.repeat(train.label, 20)}
    # Right labels make the prediction exact but for rounding; "no label" is told as 3, off by one for the nearest.
    assert jnp.all(experiment.held_out_loss(jax.random.key(1), {}, batch) < 1e-4)
    losses = experiment.loss(jax.random.key(1), {}, batch)
    assert jnp.all((losses < 1e-4) | (losses > 0.4))
    assert abs((losses > 0.4).mean() - rate) <= 4 * np.sqrt(rate * (1 - rate) / len(losses))


@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize("label", [None, 2, "balanced"])
def test_every_sample_is_of_the_class_asked_for(config, tmp_path, label, guidance):
    if label is None and guidance != 1:
        pytest.skip("guidance needs a label")
    config.sampling.label = label
    config.sampling.guidance = guidance
    experiment = told(config)
    asked = np.array({None: [CLASSES] * 11, 2: [2] * 11, "balanced": [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1]}[label])
    expected = CLASSES + guidance * (asked - CLASSES)
    samples = modes.draw(experiment, tmp_path, {}, 11)
    np.testing.assert_allclose(samples, np.repeat(expected[:, None], 2, axis=1), atol=1e-3)
    if label is not None:
        np.testing.assert_array_equal(experiment.sampling_labels(11), asked)


def test_completions_are_given_the_class_of_what_they_complete(config, monkeypatch):
    monkeypatch.setitem(inverse.MASKS, "first", lambda key, shape: jnp.array([1.0, 0.0]))
    config.inverse.mask = "first"
    config.inverse.draws = 2
    config.inverse.steps = 5
    experiment = told(config)
    # The grey of unknown pixels is the middle of the raw levels.
    experiment = dataclasses.replace(experiment, dataset=dataclasses.replace(experiment.dataset, levels=2))
    # These are points, not images, so there is no likeness of pictures to measure.
    monkeypatch.setattr(modes.inverse, "compare", lambda *_: {})
    result = modes.restore(experiment, {})
    np.testing.assert_allclose(result["restored"], np.repeat(result["original"][:, None], 2, axis=1), atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"data.name": "two_moons", "data.path": None}, "data with labels, got 3 for 'two_moons' without"),
        ({"network.num_classes": 4}, "must be the data's 3 classes, got 4"),
        ({"sampling.label": 3}, r"a class in \[0, 3\), got 3"),
        ({"sampling.label": "balance"}, "got 'balance'"),
        ({"sampling.label": True}, "got True"),
        (
            {"network.num_classes": None},
            "network with num_classes, or a sampling.classifier and data with labels, got 'balanced'",
        ),
        ({"sampling.label": None, "sampling.guidance": 2.0}, "needs a sampling.label, got guidance=2.0"),
        ({"train.label_dropout": 1.5}, r"label_dropout must be in \[0, 1\], got 1.5"),
    ],
)
def test_what_cannot_be_conditioned_is_refused(config, changes, match):
    config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=match):
        Experiment.from_config(config)


@pytest.mark.slow
def test_the_conditional_digits_are_the_digits_with_labels():
    experiment = Experiment.from_config(get_mnist_conditional("smoke"))
    assert experiment.network.num_classes == 10 and len(experiment.dataset.train) == 4500
    assert experiment.init().params["embedding"]["classes"]["embedding"].shape[0] == 11
