"""Training data that a teacher makes once, into the run's folder: pairs for reflow, trajectories for consistency."""

import dataclasses
import json
import os
import pathlib
from typing import Any

import equinox as eqx
import jax
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from sgm_jax import modes
from sgm_jax.experiments.distillation import DistillationExperiment
from sgm_jax.shapes import per_example_keys
from sgm_jax.training import Outcome, exit_code

FOLDER = "pairs"
MADE_FOR = ("teacher", "guidance", "steps")


@dataclasses.dataclass(frozen=True)
class Made:
    """What a teacher made, and the classes: a source of training examples.

    Args:
        arrays: arrays by name [n, ...], among them the samples `x` in the model's range, and `label` if there are
            classes.
    """

    arrays: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.arrays["x"])

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.take(index)

    def take(self, index: Any) -> dict[str, Any]:
        """Return one example, or a batch for an array of indices."""
        return {name: array[index] for name, array in self.arrays.items()}


def check(config: ConfigDict, name: str) -> None:
    """Check the settings of what a teacher is to make for the objective called `name`.

    Raises:
        ValueError: if a number in the section on distillation is not usable, or samples are to be augmented.
    """
    for field, least in (("steps", 1), ("pairs", 0)):
        if config.distillation[field] < least:
            raise ValueError(f"distillation.{field} must be at least {least}, got {config.distillation[field]}")
    if config.train.augmentation != "none":
        raise ValueError(f"train.augmentation must be 'none' for {name}, got {config.train.augmentation!r}")


def with_pairs(experiment: DistillationExperiment, workdir: pathlib.Path) -> DistillationExperiment:
    """Return the experiment with what its teacher made in the run's folder as training data, completing it.

    The experiment's `make(key, label, count)` gives arrays by name. Example `i` is a function of the config alone, and
    is of class `i` modulo their number.

    Raises:
        Unsuitable: if the folder holds some that were made otherwise.
    """
    section, size = experiment.config.distillation, experiment.config.sampling.batch_size
    if not section.pairs:
        return experiment
    folder = workdir / FOLDER
    folder.mkdir(exist_ok=True)
    made_for = {name: section[name] for name in MADE_FOR} | {"seed": experiment.config.seed, "batch_size": size}
    record = folder / "made_for.json"
    if record.is_file() and json.loads(record.read_text()) != made_for:
        raise modes.Unsuitable(f"{folder} holds pairs made for {record.read_text().strip()}, not for {made_for}")
    record.write_text(json.dumps(made_for))

    count = -(-section.pairs // size) * size
    keys = per_example_keys(modes.stream(experiment, modes.PAIRS), count)
    label = np.arange(count, dtype=np.int32) % experiment.num_classes if experiment.num_classes else None
    make = eqx.filter_jit(lambda keys, label: experiment.make(keys, label, size))
    parts = []
    for first in tqdm(range(0, count, size), desc="pairs", unit="batch", disable=None):
        file, rows = folder / f"{first:08d}.npz", slice(first, first + size)
        if not file.is_file():
            arrays = make(keys[rows], None if label is None else jax.numpy.asarray(label[rows]))
            part = folder / "part.npz"
            np.savez(part, **arrays)
            os.replace(part, file)
        with np.load(file) as stored:
            parts.append(dict(stored))
    arrays = {name: np.concatenate([part[name] for part in parts])[: section.pairs] for name in parts[0]}
    source = Made(arrays if label is None else arrays | {"label": label[: section.pairs]})
    return dataclasses.replace(experiment, dataset=dataclasses.replace(experiment.dataset, train=source))


def train_to_end(experiment: DistillationExperiment, workdir: pathlib.Path) -> Outcome:
    """Make what the config asks for, and train: see `modes.train_to_end`."""
    return modes.train_to_end(with_pairs(experiment, workdir), workdir)


def train(experiment: DistillationExperiment, workdir: pathlib.Path) -> int:
    """Train, or go on from the newest checkpoint; returns the exit code."""
    return exit_code(train_to_end(experiment, workdir))
