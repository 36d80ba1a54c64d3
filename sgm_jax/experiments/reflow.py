"""Experiments of reflow: `config.objective = "reflow"`.

The new flow learns from pairs of noise and sample that the teacher's probability flow joins. Pairs are made in every
step, or `distillation.pairs` of them once, into the run's folder.
"""

import dataclasses
import json
import os
import pathlib
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict
from tqdm import tqdm

from sgm_jax import modes, objectives
from sgm_jax.components import REDUCTIONS, load_data
from sgm_jax.convert import Pretrained
from sgm_jax.experiments.distillation import DistillationExperiment
from sgm_jax.sampling import ProbabilityFlow
from sgm_jax.score import NetworkScore
from sgm_jax.shapes import Batch, PRNGKey, PRNGKeys, per_example_keys
from sgm_jax.training import Outcome, exit_code

FOLDER = "pairs"
MADE_FOR = ("teacher", "guidance", "steps")


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Samples, the noise that belongs to each, and their classes: a source of training examples.

    Args:
        x: samples in the model's range [n, ...].
        noise: as from `reflow_pairs` [n, ...].
        label: classes [n], or None.
    """

    x: Float[np.ndarray, "n ..."]
    noise: Float[np.ndarray, "n ..."]
    label: Int[np.ndarray, " n"] | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.take(index)

    def take(self, index: Any) -> dict[str, Any]:
        """Return one example, or a batch for an array of indices."""
        pair = {"x": self.x[index], "noise": self.noise[index]}
        return pair if self.label is None else pair | {"label": self.label[index]}


@dataclasses.dataclass(frozen=True)
class ReflowExperiment(DistillationExperiment):
    """The objects of one experiment whose flow is to be straight."""

    @classmethod
    def from_config(
        cls,
        config: ConfigDict,
        pretrained: Pretrained | None = None,
        load=load_data,
    ) -> "ReflowExperiment":
        """Build everything a config names: see `DistillationExperiment.from_config`.

        Raises:
            ValueError: besides, if samples are to be augmented, or a number in the section on distillation is not
                usable.
        """
        for name, least in (("steps", 1), ("pairs", 0)):
            if config.distillation[name] < least:
                raise ValueError(f"distillation.{name} must be at least {least}, got {config.distillation[name]}")
        if config.train.augmentation != "none":
            raise ValueError(f"train.augmentation must be 'none' for reflow, got {config.train.augmentation!r}")
        return super().from_config(config, pretrained, load)

    def pairs(self, key: PRNGKey | PRNGKeys, label: Array | None, count: int) -> tuple[Batch, Batch]:
        """Return samples of the teacher's flow and the noise that belongs to each, both [count, ...]."""
        flow = ProbabilityFlow(self.sde, self.teacher_score_fn(label))
        return objectives.reflow_pairs(key, flow, (count, *self.dataset.shape), steps=self.config.distillation.steps)

    def _loss(self, keys, network, batch, augmentation):
        pair, _, loss = keys
        if "noise" in batch:
            x0, noise = batch["x"], batch["noise"]
        else:
            x0, noise = jax.lax.stop_gradient(self.pairs(pair, network.keywords["label"], len(batch["x"])))
        score_fn = NetworkScore(self.sde, self.prediction, network)
        losses = objectives.reflow(loss, self.sde, score_fn, x0, noise, weighting=self.weighting, times=self.times)
        return REDUCTIONS[self.config.train.reduction](x0[0].size) * losses


def with_pairs(experiment: ReflowExperiment, workdir: pathlib.Path) -> ReflowExperiment:
    """Return the experiment with the pairs of the run's folder as training data, making those that are missing.

    Pair `i` is a function of the config alone, and is of class `i` modulo their number.

    Raises:
        Unsuitable: if the folder holds pairs that were made otherwise.
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
    make = eqx.filter_jit(lambda keys, label: experiment.pairs(keys, label, size))
    parts = []
    for first in tqdm(range(0, count, size), desc="pairs", unit="batch", disable=None):
        file, rows = folder / f"{first:08d}.npz", slice(first, first + size)
        if not file.is_file():
            x0, noise = make(keys[rows], None if label is None else jax.numpy.asarray(label[rows]))
            part = folder / "part.npz"
            np.savez(part, x=x0, noise=noise)
            os.replace(part, file)
        with np.load(file) as stored:
            parts.append((stored["x"], stored["noise"]))
    x, noise = (np.concatenate(arrays)[: section.pairs] for arrays in zip(*parts, strict=True))
    source = Pairs(x, noise, None if label is None else label[: section.pairs])
    return dataclasses.replace(experiment, dataset=dataclasses.replace(experiment.dataset, train=source))


def train_to_end(experiment: ReflowExperiment, workdir: pathlib.Path) -> Outcome:
    """Make the pairs that the config asks for, and train: see `modes.train_to_end`."""
    return modes.train_to_end(with_pairs(experiment, workdir), workdir)


def train(experiment: ReflowExperiment, workdir: pathlib.Path) -> int:
    """Train, or go on from the newest checkpoint; returns the exit code."""
    return exit_code(train_to_end(experiment, workdir))
