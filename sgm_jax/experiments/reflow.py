"""Experiments of reflow: `config.objective = "reflow"`.

The new flow learns from pairs of noise and sample that the teacher's probability flow joins. Pairs are made in every
step, or `distillation.pairs` of them once, into the run's folder.
"""

import dataclasses

import jax
from jaxtyping import Array
from ml_collections import ConfigDict

from sgm_jax import objectives
from sgm_jax.components import REDUCTIONS
from sgm_jax.convert import Pretrained
from sgm_jax.experiments import made
from sgm_jax.sampling import ProbabilityFlow
from sgm_jax.score import NetworkScore
from sgm_jax.shapes import PRNGKey, PRNGKeys


@dataclasses.dataclass(frozen=True)
class ReflowExperiment(made.MadeExperiment):
    """The objects of one experiment whose flow is to be straight."""

    @classmethod
    def check(cls, config: ConfigDict, pretrained: Pretrained | None) -> None:
        """Check the section on distillation.

        Raises:
            ValueError: if it is not usable, or samples are to be augmented.
        """
        made.check(config, "reflow")
        super().check(config, pretrained)

    def make(self, key: PRNGKey | PRNGKeys, label: Array | None, count: int) -> dict[str, Array]:
        """Return samples `x` of the teacher's flow and the `noise` that belongs to each, both [count, ...]."""
        flow = ProbabilityFlow(self.sde, self.teacher_score_fn(label))
        x0, noise = objectives.reflow_pairs(
            key, flow, (count, *self.dataset.shape), steps=self.config.distillation.steps
        )
        return {"x": x0, "noise": noise}

    def _loss(self, keys, network, batch, augmentation):
        pair, _, loss = keys
        if "noise" not in batch:
            batch = jax.lax.stop_gradient(self.make(pair, network.keywords["label"], len(batch["x"])))
        x0, noise = batch["x"], batch["noise"]
        score_fn = NetworkScore(self.sde, self.prediction, network)
        losses = objectives.reflow(loss, self.sde, score_fn, x0, noise, weighting=self.weighting, times=self.times)
        return REDUCTIONS[self.config.train.reduction](x0[0].size) * losses
