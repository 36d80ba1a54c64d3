"""Experiments that train a classifier of noisy data, by the same loop as a score: `config.objective = "classifier"`."""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PyTree
from ml_collections import ConfigDict

from sgm_jax import data as datasets
from sgm_jax import modes, stored
from sgm_jax.augmentation import identity
from sgm_jax.classification import NetworkClassifier, noisy_accuracy, noisy_cross_entropy
from sgm_jax.components import make_network
from sgm_jax.experiment import Experiment
from sgm_jax.networks import WideResNet
from sgm_jax.shapes import PRNGKey
from sgm_jax.training import exit_code

CLASSIFIERS = {"wide_resnet": WideResNet}
LEVELS = (0.1, 0.3, 1.0, 3.0, 10.0)  # canonical noise levels at which the accuracy is measured
BATCH = 250  # held-out examples at a time


class ClassifierExperiment(Experiment):
    """The objects of one experiment with a classifier of noisy images in the place of the score network.

    The config's `prediction` says how the network is fed, `times` at which noise it is trained.
    """

    @staticmethod
    def make_network(config: ConfigDict, dataset: datasets.Dataset) -> Any:
        """Build the classifier that the config names, with as many classes as the data have.

        Raises:
            ValueError: if it is unknown, or the data are no images with labels.
        """
        if len(dataset.shape) != 3 or not dataset.num_classes:
            raise ValueError(f"objective 'classifier' needs images with labels, got data {dataset.name!r}")
        return make_network(config.network, CLASSIFIERS, classes=dataset.num_classes)

    def classifier_fn(self, params: PyTree, **options: Any) -> NetworkClassifier:
        """Return `classifier_fn(t, x) -> logits` of the network with `params`; `options` go to the network."""
        network = jax.tree_util.Partial(self.network.apply, {"params": params}, **options)
        return NetworkClassifier(self.sde, self.prediction, network)

    def loss(self, key: PRNGKey, params: PyTree, batch: Mapping[str, Array | np.ndarray]) -> Array:
        """Return the cross-entropy of each example [b], in nats, as in training."""
        dropout_key, *keys = jax.random.split(key, 4)
        classifier_fn = self.classifier_fn(params, deterministic=False, rngs={"dropout": dropout_key})
        return self._loss(keys, classifier_fn, batch, self.augmentation)

    def held_out_loss(self, key: PRNGKey, params: PyTree, batch: Mapping[str, Array | np.ndarray]) -> Array:
        """Return the cross-entropy of each example [b], in nats, without dropout and augmentation."""
        return self._loss(jax.random.split(key, 3), self.classifier_fn(params), batch, identity)

    def _loss(self, keys, classifier_fn, batch, augmentation):
        bins, augment, loss = keys
        x0, _ = augmentation(augment, self.scaling.dequantise(bins, batch["x"]))
        return noisy_cross_entropy(loss, self.sde, classifier_fn, x0, batch["label"], times=self.times)


def measure_accuracy(experiment: ClassifierExperiment, params: PyTree) -> dict[str, Any]:
    """Compute the accuracy on all held-out data at noise levels from faint to strong, with its standard error."""
    count = len(experiment.dataset.test)
    low, high = (float(experiment.sde.s(t)) for t in (experiment.sde.t_min, experiment.sde.t_max))
    levels = [s for s in LEVELS if low <= s <= high]

    @jax.jit
    def share(key, batch, t):
        bins, noise = jax.random.split(key)
        x0 = experiment.scaling.dequantise(bins, batch["x"])
        return noisy_accuracy(noise, experiment.sde, experiment.classifier_fn(params), x0, batch["label"], t)

    right = np.zeros(len(levels))
    for start in range(0, count, BATCH):
        batch = datasets.gather(experiment.dataset.test, range(start, min(start + BATCH, count)))
        key = jax.random.fold_in(modes.stream(experiment, modes.HELD_OUT), start)
        for i, s in enumerate(levels):
            right[i] += float(share(key, batch, experiment.sde.t(s))) * len(batch["label"])
    accuracy = right / count
    return {
        "examples": count,
        "noise_levels": levels,
        "accuracy": accuracy,
        "standard_error": np.sqrt(accuracy * (1 - accuracy) / count),
    }


def evaluate(experiment: ClassifierExperiment, workdir: pathlib.Path) -> int:
    """Write the accuracy on held-out data at several noise levels to `accuracy.json`; returns the exit code."""
    result = measure_accuracy(experiment, stored.parameters(experiment, workdir))
    modes.write_json(workdir / "accuracy.json", result)
    shares = (f"{a:.1%} at s = {s:g}" for s, a in zip(result["noise_levels"], result["accuracy"], strict=True))
    print(f"accuracy on {result['examples']} held-out examples: {', '.join(shares)}")
    return 0


def run(experiment: ClassifierExperiment, workdir: pathlib.Path) -> int:
    """Train, then measure the accuracy; returns the exit code."""
    outcome = modes.train_to_end(experiment, workdir)
    return evaluate(experiment, workdir) if outcome.finished else exit_code(outcome)


MODES = {"run": run, "train": modes.train, "evaluate": evaluate}
