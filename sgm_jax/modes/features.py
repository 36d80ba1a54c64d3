"""Samples and data in the features of a published network."""

import hashlib
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from sgm_jax import convert, evaluation
from sgm_jax import data as datasets
from sgm_jax.evaluation import statistics, streaming
from sgm_jax.experiment import Experiment
from sgm_jax.modes.sampling import batches
from sgm_jax.modes.shared import Unsuitable, dependencies, examples, is_image
from sgm_jax.progress import progress
from sgm_jax.training.checkpoint import to_json

FOLDER = "evaluation"  # of what is kept while samples are measured
STATISTICS = "statistics.npz"
READ = 256  # examples at a time


def extractor(experiment: Experiment) -> evaluation.Extractor:
    """Return the feature network that the config's `evaluation` section names.

    Raises:
        Unsuitable: if the data are no 8-bit images, grey or of three channels.
        FileNotFoundError: if there are no weights.
    """
    shape, section = experiment.dataset.shape, experiment.config.evaluation
    if not is_image(experiment) or experiment.dataset.levels != 256 or shape[-1] not in (1, 3):
        raise Unsuitable(f"Inception looks at 8-bit images of 1 or 3 channels, got data of shape {shape}")
    weights = convert.inception(section.weights)
    return evaluation.inception(
        weights.params,
        weights.name,
        variant=section.variant,
        resize=section.resize,
        batch_size=section.batch_size,
    )


def reference(experiment: Experiment, workdir: pathlib.Path, network: evaluation.Extractor) -> evaluation.Reference:
    """Return what samples are compared with: the file that the config names, or the statistics of the data.

    Raises:
        ValueError: if the file cannot be read, or is of other features.
    """
    path = experiment.config.evaluation.statistics
    if path is None:
        return measure_data(experiment, workdir, network)
    found = statistics.load(path, lambda images: measure_images(experiment, images, network))
    shapes = jax.eval_shape(network.function, np.zeros((1, *experiment.dataset.shape), np.uint8))
    statistics.check_comparable(found.pool, network.name, shapes["pool"].shape[1])
    return found


def measure_data(experiment: Experiment, workdir: pathlib.Path, network: evaluation.Extractor) -> evaluation.Reference:
    """Measure the whole split that the config names; a killed measurement goes on, a finished one is read."""
    section = experiment.config.evaluation
    source = examples(experiment, section.split)
    # The features that are kept are of the first ones, so the order must not be that of classes.
    order = np.random.default_rng(experiment.config.seed).permutation(len(source))
    measured = to_json(
        {
            "features": network.name,
            "split": section.split,
            "keep": section.keep,
            "seed": experiment.config.seed,
            "data": experiment.config.data.to_dict(),
        }
    )

    def read(start: int) -> Iterator[np.ndarray]:
        for first in progress(range(start, len(source), READ), desc="measuring data", unit="batch"):
            yield datasets.gather(source, order[first : first + READ])["x"]

    path = workdir / FOLDER / STATISTICS
    plan = evaluation.Plan(len(source), min(section.keep, len(source)), spatial=("spatial",))
    gathered = evaluation.gather(
        network,
        read,
        plan,
        streaming.read(path, measured),
        lambda kept: streaming.write(path, kept, measured),
        section.save_every,
    )
    assert gathered.pool is not None  # as there are examples
    statistics.warn_if_few(gathered.done, len(gathered.pool.mean), "examples")
    return streaming.as_reference(gathered, network.name)


def measure_images(experiment: Experiment, images: np.ndarray, network: evaluation.Extractor) -> evaluation.Reference:
    """Measure images of a reference file."""
    section = experiment.config.evaluation
    plan = evaluation.Plan(len(images), min(section.keep, len(images)), spatial=("spatial",))
    return streaming.as_reference(evaluation.gather(network, lambda start: [images[start:]], plan), network.name)


def measure_samples(
    experiment: Experiment,
    workdir: pathlib.Path,
    params: Any,
    network: evaluation.Extractor,
    found: evaluation.Reference,
    randomness: int,
) -> dict[str, Any]:
    """Draw samples and return their figures.

    What is kept of them is written every few batches to a file of the workdir; the same call goes on from there.
    Since a sample is a function of its number alone, the figures are those of an unbroken run.

    Args:
        experiment: of the network.
        workdir: the run's folder.
        params: the network's parameters.
        network: what samples are measured by.
        found: what they are compared with.
        randomness: the stream they are drawn from.
    """
    section = experiment.config.evaluation
    count = section.count or experiment.config.sampling.count
    plan = evaluation.plan(section.metrics, count, keep=section.keep, splits=section.splits, reference=found)
    measured = dependencies(experiment, params, ("data", "sampling", "fit"))
    measured = to_json(
        measured
        | {
            "features": network.name,
            "count": count,
            "metrics": sorted(section.metrics),
            "keep": section.keep,
            "splits": section.splits,
            "randomness": randomness,
            "reference": hashlib.sha256(found.pool.mean.tobytes()).hexdigest(),
        }
    )
    path = workdir / FOLDER / f"{measured['parameters'][:12]}_{randomness}.npz"
    gathered = evaluation.gather(
        network,
        lambda start: batches(experiment, workdir, params, count, start=start, randomness=randomness),
        plan,
        streaming.read(path, measured),
        lambda kept: streaming.write(path, kept, measured),
        section.save_every,
    )
    return evaluation.figures(section.metrics, gathered, found) | {"features": network.name}
