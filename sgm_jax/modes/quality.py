"""Quality of samples by a classifier trained on the labels of the data."""

import pathlib
from typing import Any

import numpy as np

from sgm_jax import data as datasets
from sgm_jax import evaluation
from sgm_jax.experiment import Experiment
from sgm_jax.modes.shared import CLASSIFIER, Unsuitable, held_out_batch, is_labelled, stream, write_json


def train_judge(experiment: Experiment) -> evaluation.Classifier:
    """Train the classifier that samples are judged by, on the training data.

    Raises:
        Unsuitable: if they are no 8-bit images with labels.
    """
    if not is_labelled(experiment):
        raise Unsuitable(
            "judging samples by a classifier needs 8-bit images with labels to train it on; without, set "
            "--config.evaluation.features to inception or points"
        )
    training, classes = training_images(experiment), experiment.dataset.num_classes
    assert classes is not None  # as there are labels
    return evaluation.train_classifier(
        stream(experiment, CLASSIFIER), training["x"], training["label"], classes=classes
    )


def training_images(experiment: Experiment) -> dict[str, np.ndarray]:
    """Return all training data as one batch."""
    return datasets.gather(experiment.dataset.train, range(len(experiment.dataset.train)))


def measure_quality(experiment: Experiment, samples: np.ndarray, judge: evaluation.Classifier) -> dict[str, Any]:
    """Score samples against the training data in the features of a classifier trained on these."""
    held_out = held_out_batch(experiment, len(samples))
    samples = samples[: len(held_out["x"])]
    return evaluation.quality(
        judge,
        samples,
        training_images(experiment)["x"],
        held_out["x"],
        held_out["label"],
        sample_labels=experiment.sampling_labels(len(samples)),
    )


def save_quality(result: dict[str, Any], workdir: pathlib.Path) -> None:
    """Write quality figures to the run's folder."""
    write_json(workdir / "quality.json", result)
    print(
        f"Fréchet distance {result['frechet']:.1f} (real held-out data: {result['frechet_floor']:.1f}), confident "
        f"{result['confident']:.0%} (real: {result['confident_floor']:.0%}), smallest class "
        f"{min(result['class_shares']):.1%}"
        + (f", of the class asked for {result['class_accuracy']:.1%}" if "class_accuracy" in result else "")
    )
