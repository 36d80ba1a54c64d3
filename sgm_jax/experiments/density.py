"""Experiments that learn the score of the data themselves, without noise: `config.objective = "density"`.

One network, told nothing of noise, is trained by any form of score matching but the denoising one. Samples are drawn
by Langevin dynamics whose steps shrink with the levels of the sampling schedule.
"""

import pathlib
from collections.abc import Callable, Mapping
from typing import ClassVar

import equinox as eqx
from jaxtyping import Array, Int, PyTree
from ml_collections import ConfigDict

from sgm_jax import modes
from sgm_jax.components import FORMS
from sgm_jax.convert import Pretrained
from sgm_jax.experiment import Experiment
from sgm_jax.shapes import Batch, Level, PRNGKey, ScoreFn
from sgm_jax.training import exit_code


class AtTime(eqx.Module):
    """A score function held at one time `t`, whatever time it is asked for."""

    score_fn: ScoreFn
    t: float

    def __call__(self, t: Level, x: Batch) -> Batch:
        return self.score_fn(self.t, x)


class DensityExperiment(Experiment):
    """The objects of one experiment with the score of the data in place of that of noisy data."""

    matchings: ClassVar[Mapping[str, Callable]] = FORMS

    @classmethod
    def check(cls, config: ConfigDict, pretrained: Pretrained | None) -> None:
        """Check that the sampler is one that needs no scores of noisy data.

        Raises:
            ValueError: if it is not.
        """
        section = config.sampling
        if (section.process, section.solver, section.final) != ("reverse_sde", "annealed_langevin", "none"):
            raise ValueError(
                "objective 'density' needs sampling.process 'reverse_sde', solver 'annealed_langevin' and final "
                f"'none', got {section.process!r}, {section.solver!r} and {section.final!r}"
            )

    def score_fn(self, params: PyTree, label: Int[Array, " b"] | None = None) -> AtTime:
        """Return the score function of the data, the same at every time."""
        return AtTime(super().score_fn(params, label), self.sde.t_min)

    def objective(self, key: PRNGKey, score_fn: ScoreFn, x0: Batch) -> Array:
        """Return the config's form of score matching [b] for the data as they are."""
        return self.matching(key, lambda x: score_fn(self.sde.t_min, x), x0)


def run(experiment: DensityExperiment, workdir: pathlib.Path) -> int:
    """Train, then draw samples; returns the exit code."""
    outcome = modes.train_to_end(experiment, workdir)
    return modes.sample(experiment, workdir) if outcome.finished else exit_code(outcome)


MODES = {"run": run} | {name: modes.MODES[name] for name in ("suggest", "train", "sample")}
