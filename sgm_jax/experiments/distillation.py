"""Experiments whose network learns from another trained one, the teacher: what all of them share."""

import dataclasses
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict
from jaxtyping import Array, Int, PyTree
from ml_collections import ConfigDict

from sgm_jax import modes
from sgm_jax.convert import Pretrained
from sgm_jax.convert.names import compare
from sgm_jax.experiment import Experiment
from sgm_jax.naming import choose
from sgm_jax.sampling import level_range
from sgm_jax.score import as_noise
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import ScoreFn, expand
from sgm_jax.training import exit_code

STARTS = ("teacher", "random")


@dataclasses.dataclass(frozen=True)
class Teacher:
    """A trained model that another one learns from, whatever the SDE of either.

    Attributes:
        model: its experiment.
        params: its network's parameters.
    """

    model: Experiment
    params: PyTree

    def score_fn(self, sde: AbstractSDE, label: Int[Array, " b"] | None = None, guidance: float = 1.0) -> ScoreFn:
        """Return its score function of data perturbed by `sde`, given classes [b] or none, with guidance."""
        own = self.model.guided_score_fn(self.params, label if self.model.num_classes else None, guidance)
        noise = as_noise(self.model.sde, own)

        def score_fn(t, x):
            t = jnp.asarray(t, x.dtype)
            return -noise(sde.s(t), x / expand(sde.alpha(t), x)) / expand(sde.sigma(t), x)

        return score_fn


@dataclasses.dataclass(frozen=True)
class DistillationExperiment(Experiment):
    """The objects of one experiment, and the teacher that `config.distillation` names.

    `from_config` builds all but the teacher. Losses are those of subclasses. The teacher may have another SDE and other
    parametrisation; data and classes are shared, and with `distillation.start = "teacher"` the network.
    """

    # See `teachers.attach`; training needs it, what comes after training does not.
    teacher: Teacher | None = None

    @classmethod
    def check(cls, config: ConfigDict, pretrained: Pretrained | None) -> None:
        """Check the section on distillation.

        Raises:
            ValueError: if it is not usable.
        """
        section = config.distillation
        start = choose("distillation.start", section.start, dict(zip(STARTS, STARTS, strict=True)))
        if start == "teacher" and section.teacher is None and pretrained is None:
            raise ValueError("distillation.start 'teacher' needs a distillation.teacher, got None")

    def taught_by(self, teacher: Teacher) -> "DistillationExperiment":
        """Return the experiment with a teacher.

        Raises:
            ValueError: if it cannot be taught by this one: see `check_teacher`.
        """
        self.check_teacher(teacher)
        return dataclasses.replace(self, teacher=teacher)

    def check_teacher(self, teacher: Teacher) -> None:
        """Check that a teacher can teach this experiment.

        Raises:
            ValueError: if the noise levels of this SDE are not among the teacher's, or the network is to start from
                the teacher's parameters and has others.
        """
        given = self.config.distillation.teacher
        (low, high), (least, most) = level_range(self.sde), level_range(teacher.model.sde)
        if low < least * (1 - 1e-3) or high > most * (1 + 1e-3):
            raise ValueError(
                f"sde must have noise levels within the teacher's {least:g} to {most:g}, got {low:g} to {high:g}"
            )
        if self.config.distillation.start == "teacher":
            theirs, ours = (
                flatten_dict(tree, sep="/") for tree in (teacher.params, jax.eval_shape(super().init_params))
            )
            compare(f"distillation.start 'teacher' needs the network of the teacher {given!r}", theirs, ours)

    def init_params(self) -> PyTree:
        """Return what training starts from: the teacher's parameters, or new ones."""
        if self.teacher is None or self.config.distillation.start == "random":
            return super().init_params()
        return self.teacher.params

    def train_step(self) -> Callable:
        """Return the pure training step `(state, batch) -> (state, metrics)`.

        Raises:
            ValueError: if the config names a teacher and it is not there.
        """
        if self.teacher is None and self.config.distillation.teacher is not None:
            raise ValueError(
                f"the teacher {self.config.distillation.teacher!r} must be there to train: see teachers.attach"
            )
        return super().train_step()

    def teacher_score_fn(self, label: Int[Array, " b"] | None = None) -> ScoreFn:
        """Return the teacher's score function under this SDE, guided as `distillation.guidance` says."""
        assert self.teacher is not None  # as `train_step` checks
        return self.teacher.score_fn(self.sde, label, self.config.distillation.guidance)


def run(experiment: DistillationExperiment, workdir: pathlib.Path) -> int:
    """Train, then draw samples and, of labelled images, judge them; returns the exit code."""
    outcome = modes.train_to_end(experiment, workdir)
    if not outcome.finished:
        return exit_code(outcome)
    code = modes.sample(experiment, workdir)
    return modes.evaluate(experiment, workdir) if modes.is_labelled(experiment) else code
