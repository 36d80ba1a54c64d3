"""The network that comes with the library: what it is, and (slow) what it draws."""

import importlib.resources

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgm_jax as sgm
from configs.pretrained import get_config
from sgm_jax import evaluation, modes
from sgm_jax.data import gather
from sgm_jax.experiment import Experiment


@pytest.fixture(scope="module")
def experiment():
    return Experiment.from_config(get_config("mnist"), sgm.pretrained("mnist"))


def test_it_is_small_and_says_what_it_is():
    digits = sgm.pretrained("mnist")
    assert digits.shape == (28, 28, 1) and digits.network.num_classes == 10
    assert sum(leaf.size for leaf in jax.tree.leaves(digits.params)) <= 1.5e6
    weights = importlib.resources.files("sgm_jax.convert") / "weights"
    assert len((weights / "mnist.safetensors").read_bytes()) < 3.1e6
    assert "mnist_conditional.py" in (weights / "mnist.md").read_text()
    trained, now = digits.config, get_config("mnist").to_dict()
    # How data are read is nothing of the model.
    for name in ("cache", "workers", "prefetch"):
        del now["data"][name]
    # The file was written when the range of the one transform that there was had its default in the config.
    assert now["data"].pop("transform") == "affine"
    now["data"] |= {"low": -1.0, "high": 1.0}
    for section in ("data", "network", "sde", "prediction", "optimizer"):
        assert {k: v for k, v in trained[section].items() if v is not None} == {
            k: list(v) if isinstance(v, tuple) else v for k, v in now[section].items() if v is not None
        }, section


@pytest.mark.slow
def test_a_digit_is_denoised_best_given_its_own_class(experiment):
    """Held-out digits are classified by the error of denoising them given each class."""
    batch = modes.held_out_batch(experiment, 40)
    x0, count = experiment.scaling.to_model(jnp.asarray(batch["x"])), len(batch["label"])
    t = experiment.sde.t(jnp.asarray([0.5, 0.7, 1.0, 1.4, 2.0, 2.8]))
    noise = jax.random.normal(jax.random.key(0), (len(t), *x0.shape))
    noisy = jax.vmap(lambda t, noise: experiment.sde.perturb(t, x0, noise))(t, noise).reshape(-1, *x0.shape[1:])
    params = sgm.pretrained("mnist").params

    @jax.jit
    def error(label):
        denoiser = sgm.as_denoiser(experiment.sde, experiment.score_fn(params, jnp.full(len(t) * count, label)))
        return ((denoiser(jnp.repeat(t, count), noisy).reshape(len(t), *x0.shape) - x0) ** 2).mean(axis=(0, 2, 3, 4))

    errors = np.stack([error(label) for label in range(10)])
    assert (errors.argmin(axis=0) == batch["label"]).mean() >= 0.9


@pytest.mark.slow
def test_samples_are_of_the_class_asked_for(experiment, tmp_path):
    """At least 97 % of 200, by a classifier trained on the same digits, which knows 98 % of real ones."""
    training = gather(experiment.dataset.train, range(len(experiment.dataset.train)))
    classifier = evaluation.train_classifier(
        modes.stream(experiment, modes.CLASSIFIER), training["x"], training["label"]
    )
    samples = modes.draw(experiment, tmp_path, sgm.pretrained("mnist").params, 200)
    _, probabilities = classifier(samples)
    assert (probabilities.argmax(1) == np.arange(200) % 10).mean() >= 0.97
