"""Guidance by other trained models: the classifier, or the worse model, that a config names."""

import dataclasses

from ml_collections import ConfigDict

from sgm_jax import guidance, stored
from sgm_jax.experiment import Experiment
from sgm_jax.experiments.classifier import ClassifierExperiment


def attach(experiment: Experiment) -> Experiment:
    """Return the experiment guided by what `sampling.classifier` or `sampling.guide` names; itself without either.

    Raises:
        ValueError: if it is no such model, or one of another SDE, of other data or of other classes.
        FileNotFoundError: if it is not trained.
    """
    section = experiment.config.sampling
    if section.classifier is not None:
        model, params = stored.model("sampling.classifier", experiment, lambda config: _classifier(section, config))
        assert isinstance(model, ClassifierExperiment)  # as `_classifier` says
        classifier_fn = model.classifier_fn(params)
        guide = lambda score_fn, label, scale: guidance.classifier(score_fn, classifier_fn, label, scale)
    elif section.guide is not None:
        model, params = stored.model("sampling.guide", experiment, lambda config: _score(experiment, config))
        worse_fn = lambda label: model.score_fn(params, label if model.num_classes else None)
        guide = lambda score_fn, label, scale: guidance.autoguidance(score_fn, worse_fn(label), scale)
    else:
        return experiment
    return dataclasses.replace(experiment, guide=guide)


def _classifier(section: ConfigDict, config: ConfigDict) -> type[Experiment]:
    if config.objective != "classifier":
        raise ValueError(
            f"sampling.classifier must be the folder of a classifier, got {section.classifier!r} of "
            f"{config.objective!r}"
        )
    return ClassifierExperiment


def _score(experiment: Experiment, config: ConfigDict) -> type[Experiment]:
    if config.objective == "classifier":
        raise ValueError(
            f"sampling.guide must be the folder of a model of scores, got {experiment.config.sampling.guide!r} of "
            "'classifier'"
        )
    return type(experiment)
