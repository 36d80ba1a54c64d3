"""Experiments of progressive distillation: `config.objective = "progressive_distillation"`.

Training goes in `distillation.rounds` rounds of equal length. In each the student learns to take one step where its
teacher takes two, and then becomes the teacher. What round it is, and the teacher, are part of the training state, so
that a killed run goes on as if nothing had been, and that every checkpoint tells how many steps its student takes.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree
from ml_collections import ConfigDict
from numpy.typing import NDArray

from sgm_jax import guidance, modes, objectives
from sgm_jax.checks import sampling_levels
from sgm_jax.convert import Pretrained
from sgm_jax.experiment import Experiment
from sgm_jax.experiments.distillation import DistillationExperiment, Teacher, run
from sgm_jax.score import NetworkScore
from sgm_jax.shapes import Batch, PRNGKey, ScoreFn
from sgm_jax.training import TrainState

SAMPLER = {"process": "probability_flow", "solver": "ddim", "final": "none", "to_zero": True}


@dataclasses.dataclass(frozen=True)
class ProgressiveExperiment(DistillationExperiment):
    """The objects of one experiment whose parameters are `network`, `teacher` and `stride`.

    The `stride` is the student's step in units of those of the first teacher, which takes `2**rounds` steps for each of
    the last student's `sampling.steps`.
    """

    # Of the round: the parameters but for the network's; none outside of training.
    stage: Mapping[str, PyTree] = dataclasses.field(default_factory=dict)

    @classmethod
    def check(cls, config: ConfigDict, pretrained: Pretrained | None) -> None:
        """Check sampler and rounds.

        Raises:
            ValueError: if rounds do not divide the steps of training, the student is no DDIM, or the section on
                distillation is not usable.
        """
        section, train = config.sampling, config.train
        given = {name: section[name] for name in SAMPLER}
        if given != SAMPLER or section.steps is None or section.schedule == "fitted":
            raise ValueError(
                f"objective 'progressive_distillation' needs a number of sampling.steps, a schedule and {SAMPLER}, got "
                f"steps={section.steps}, schedule={section.schedule!r} and {given}"
            )
        rounds = config.distillation.rounds
        if rounds < 1 or train.steps % rounds:
            raise ValueError(
                f"distillation.rounds must be at least 1 and divide train.steps={train.steps}, got {rounds}"
            )
        if config.distillation.start != "teacher":
            raise ValueError(f"distillation.start must be 'teacher', got {config.distillation.start!r}")
        if train.posthoc:
            raise ValueError(f"train.posthoc must be empty, as rounds are averaged by themselves, got {train.posthoc}")
        super().check(config, pretrained)

    def completed(self) -> "ProgressiveExperiment":
        """Return the experiment with a learning rate that starts afresh with every round."""
        rate, length = self.learning_rate, self.annealing(self.config)
        return dataclasses.replace(
            self, learning_rate=lambda step: rate(step % length), optimizer=_of_network(self.optimizer)
        )

    @staticmethod
    def annealing(config: ConfigDict) -> int:
        """Return over how many steps the learning rate is annealed: those of a round."""
        return config.train.steps // config.distillation.rounds

    def check_teacher(self, teacher: Teacher) -> None:
        """Check that a teacher can teach this experiment: see `DistillationExperiment.check_teacher`.

        Raises:
            ValueError: besides, if the teacher's SDE or prediction is another.
        """
        for name in ("sde", "prediction"):
            theirs, ours = getattr(teacher.model, name), getattr(self, name)
            if not eqx.tree_equal(theirs, ours):
                raise ValueError(f"{name} must be the teacher's {theirs}, got {ours}")
        super().check_teacher(teacher)

    # ------------------------------------------------------------------ rounds

    def init_params(self) -> PyTree:
        """Return the parameters of the first round."""
        return _begin(super().init_params(), 0)

    def train_step(self) -> Callable:
        """Return the pure training step, which begins each round with the averaged student of the one before."""
        step_fn, length = super().train_step(), self.annealing(self.config)

        def begin(state: TrainState) -> TrainState:
            params = _begin(state.ema_params["network"], state.step // length)
            return dataclasses.replace(state, params=params, ema_params=params, opt_state=self.optimizer.init(params))

        def train_step(state: TrainState, batch: Mapping[str, Array | np.ndarray], **devices: Any):
            state = jax.lax.cond(state.step % length == 0, begin, lambda state: state, state)
            return step_fn(state, batch, **devices)

        return train_step

    def trained(self, params: PyTree) -> tuple["ProgressiveExperiment", PyTree]:
        """Return the experiment at the round that `params` are of, and the student's parameters."""
        stage = {name: value for name, value in params.items() if name != "network"}
        return dataclasses.replace(self, stage=stage), params["network"]

    # ------------------------------------------------------------------ losses

    def loss(self, key: PRNGKey, params: PyTree, batch: Mapping[str, Array | np.ndarray]) -> Array:
        """Return the distillation loss of each example [b] as in training."""
        experiment, network = self.trained(params)
        return Experiment.loss(experiment, key, network, batch)

    def held_out_loss(self, key: PRNGKey, params: PyTree, batch: Mapping[str, Array | np.ndarray]) -> Array:
        """Return the distillation loss of each example [b], without dropout and augmentation."""
        experiment, network = self.trained(params)
        return Experiment.held_out_loss(experiment, key, network, batch)

    def objective(self, key: PRNGKey, score_fn: NetworkScore, x0: Batch) -> Array:
        """Return the loss [b] of the student `score_fn` for data `x0` [b, ...]."""
        given = {name: score_fn.network.keywords[name] for name in ("label", "augment")}
        return objectives.progressive_distillation(
            key,
            self.sde,
            score_fn,
            self._teacher_score_fn(**given),
            x0,
            levels=self._levels,
            stride=(self.stage["stride"] / 2).astype(int),
            weighting=self.weighting,
        )

    def _teacher_score_fn(self, label: Array | None, augment: Array | None) -> ScoreFn:
        """Return the score function of the round's teacher, the first one's guided by `distillation.guidance`."""

        def score_fn(label):
            network = functools.partial(self.apply, self.stage["teacher"], label=label, augment=augment)
            return NetworkScore(self.sde, self.prediction, network)

        scale, plain = self.config.distillation.guidance, score_fn(label)
        if scale == 1 or label is None:
            return plain
        guided, first = guidance.classifier_free(plain, score_fn(None), scale), self.stage["stride"] == 2
        # Later teachers were students of the guided one.
        return lambda t, x: jax.lax.cond(first, lambda: guided(t, x), lambda: plain(t, x))

    # ------------------------------------------------------------------ sampling

    @property
    def _levels(self) -> NDArray:
        """The first teacher's noise levels."""
        config = self.config.copy_and_resolve_references()
        config.sampling.steps *= 2**config.distillation.rounds
        levels = sampling_levels(config, self.sde)
        assert levels is not None  # as the number of steps is given
        return levels

    def sampler(self) -> dict[str, Any]:
        """Return the options of `sgm_jax.sample` for the student of the round, for the last one unless there is one."""
        stride = 2**self.config.distillation.rounds if not self.stage else int(self.stage["stride"])
        return super().sampler() | {"schedule": self._levels[::stride]}


def _begin(student: PyTree, number: Array | int) -> PyTree:
    """Return the parameters with which round `number` begins."""
    return {
        "network": student,
        "teacher": jax.tree.map(jnp.copy, student),
        "stride": jnp.exp2(jnp.asarray(1.0 + number)),
    }


def _of_network(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """Return the optimiser of the network among the parameters, which leaves all else as it is."""

    def update(grads, state, params):
        updates, state = optimizer.update(grads["network"], state, params["network"])
        return jax.tree.map(jnp.zeros_like, grads) | {"network": updates}, state

    return optax.GradientTransformation(lambda params: optimizer.init(params["network"]), update)


NAMES = ("plan", "train", "sample", "stats", "evaluate", "reproduce", "export")
MODES = {"run": run} | {name: modes.MODES[name] for name in NAMES}
