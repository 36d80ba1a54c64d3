"""Teachers: the trained model that a config names for another one to learn from."""

from ml_collections import ConfigDict

from sgm_jax import run, stored
from sgm_jax.experiment import Experiment
from sgm_jax.experiments.distillation import DistillationExperiment, Teacher
from sgm_jax.naming import choose

# Objectives whose models have no score of noisy data.
SCORELESS = ("classifier", "consistency", "density")


def attach(experiment: Experiment) -> Experiment:
    """Return the experiment with the teacher that `distillation.teacher` names; itself where it names none.

    Args:
        experiment: any; those that do not learn from another model have no teacher.

    Raises:
        ValueError: if it is no model of scores, or one of other data, classes or noise levels, or of another network
            than the one that starts from it.
        FileNotFoundError: if it is not trained.
    """
    if not isinstance(experiment, DistillationExperiment) or experiment.config.distillation.teacher is None:
        return experiment
    shared = ("shape of data", "scaling of data", "number of classes")
    return experiment.taught_by(Teacher(*stored.model("distillation.teacher", experiment, _kind, shared)))


def _kind(config: ConfigDict) -> type[Experiment]:
    kinds = {name: kind for name, (kind, _) in run.OBJECTIVES.items() if name not in SCORELESS}
    return choose("objective of the distillation.teacher", config.objective, kinds)
