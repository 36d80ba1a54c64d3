"""Training data that a teacher makes once, into the run's folder: pairs for reflow, trajectories for consistency."""

import abc
import dataclasses
import functools
import json
import os
import pathlib
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Array
from ml_collections import ConfigDict

from sgm_jax import modes
from sgm_jax.experiments.distillation import DistillationExperiment
from sgm_jax.progress import progress
from sgm_jax.sampling import level_range
from sgm_jax.shapes import PRNGKey, PRNGKeys, per_example_keys

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


@dataclasses.dataclass(frozen=True)
class MadeExperiment(DistillationExperiment, abc.ABC):
    """The objects of one experiment whose training data its teacher makes.

    `distillation.pairs` examples are made once, into the run's folder; with 0 of them a loss makes its own, by `make`.
    """

    @abc.abstractmethod
    def make(self, key: PRNGKey | PRNGKeys, label: Array | None, count: int) -> dict[str, Array]:
        """Return `count` examples [count, ...] by name, among them the samples `x`, of classes [count] or none."""

    def batch_shapes(self, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Return the shapes of a training batch, with what the teacher made before."""
        batch = super().batch_shapes(batch_size)
        if not self.config.distillation.pairs:
            return batch
        keys = jax.eval_shape(lambda: per_example_keys(jax.random.key(0), batch_size))
        return batch | jax.eval_shape(functools.partial(self.make, count=batch_size), keys, batch.get("label"))

    def prepared(self, workdir: pathlib.Path) -> "MadeExperiment":
        """Return the experiment with what its teacher made in the run's folder as training data, completing it.

        Example `i` is a function of the config alone, and is of class `i` modulo their number. One host makes them all.

        Raises:
            Unsuitable: if the folder holds some that were made otherwise.
        """
        count, folder, parts = self.config.distillation.pairs, workdir / FOLDER, []
        if not count:
            return self
        if jax.process_index() == 0:
            self._complete(folder)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(FOLDER)
        for file in sorted(folder.glob("[0-9]*.npz")):
            with np.load(file) as stored:
                parts.append(dict(stored))
        source = Made({name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]})
        return dataclasses.replace(self, dataset=dataclasses.replace(self.dataset, train=source))

    def _complete(self, folder: pathlib.Path) -> None:
        """Make what the folder lacks, a batch a file."""
        section, size = self.config.distillation, self.config.sampling.batch_size
        folder.mkdir(exist_ok=True)
        made_for = {name: section[name] for name in MADE_FOR} | {"levels": list(level_range(self.sde))}
        made_for |= {"seed": self.config.seed, "batch_size": size}
        record = folder / "made_for.json"
        if record.is_file() and json.loads(record.read_text()) != made_for:
            raise modes.Unsuitable(f"{folder} holds pairs made for {record.read_text().strip()}, not for {made_for}")
        record.write_text(json.dumps(made_for))

        count = -(-section.pairs // size) * size
        keys = per_example_keys(modes.stream(self, modes.PAIRS), count)
        label = np.arange(count, dtype=np.int32) % self.num_classes if self.num_classes else None
        make = eqx.filter_jit(lambda keys, label: self.make(keys, label, size))
        for first in progress(range(0, count, size), desc="pairs", unit="batch"):
            file, rows = folder / f"{first:08d}.npz", slice(first, first + size)
            if not file.is_file():
                given: dict[str, Any] = {} if label is None else {"label": label[rows]}
                arrays: dict[str, Any] = make(keys[rows], None if label is None else jax.numpy.asarray(label[rows]))
                part = folder / "part.npz"
                np.savez(part, **arrays, **given)
                os.replace(part, file)
