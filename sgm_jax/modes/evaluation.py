"""Quality of samples."""

import pathlib
from typing import Any

import numpy as np

from sgm_jax import data as datasets
from sgm_jax import evaluation
from sgm_jax.experiment import Experiment
from sgm_jax.modes.sampling import draw
from sgm_jax.modes.shared import CLASSIFIER, Unsuitable, held_out_batch, is_labelled, stream, write_json
from sgm_jax.stored import trained


def measure_quality(experiment: Experiment, samples: np.ndarray) -> dict[str, Any]:
    """Score samples against the training data in the features of a classifier trained on these."""
    training = datasets.gather(experiment.dataset.train, range(len(experiment.dataset.train)))
    held_out = held_out_batch(experiment, len(samples))
    classifier = evaluation.train_classifier(
        stream(experiment, CLASSIFIER), training["x"], training["label"], classes=experiment.dataset.num_classes
    )
    samples = samples[: len(held_out["x"])]
    return evaluation.quality(
        classifier,
        samples,
        training["x"],
        held_out["x"],
        held_out["label"],
        sample_labels=experiment.sampling_labels(len(samples)),
    )


def evaluate(experiment: Experiment, workdir: pathlib.Path) -> int:
    """Score fresh samples into `quality.json`; returns the exit code."""
    if not is_labelled(experiment):
        raise Unsuitable("mode 'evaluate' needs images with labels, on which it trains a classifier")
    experiment, params = trained(experiment, workdir)
    samples = draw(experiment, workdir, params, experiment.config.sampling.count)
    save_quality(measure_quality(experiment, samples), workdir)
    return 0


def save_quality(result: dict[str, Any], workdir: pathlib.Path) -> None:
    """Write quality figures to the run's folder."""
    write_json(workdir / "quality.json", result)
    print(
        f"Fréchet distance {result['frechet']:.1f} (real held-out data: {result['frechet_floor']:.1f}), confident "
        f"{result['confident']:.0%} (real: {result['confident_floor']:.0%}), smallest class "
        f"{min(result['class_shares']):.1%}"
        + (f", of the class asked for {result['class_accuracy']:.1%}" if "class_accuracy" in result else "")
    )
