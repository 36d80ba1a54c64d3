"""Guidance by other trained models: the classifier, or the worse model, whose folder a config names."""

import dataclasses
import json
import pathlib
from typing import Any

import equinox as eqx
from jaxtyping import PyTree
from ml_collections import ConfigDict

from sgm_jax import guidance, stored
from sgm_jax.classifier_experiment import ClassifierExperiment
from sgm_jax.convert.pretrained import FILE
from sgm_jax.experiment import Experiment


def attach(experiment: Experiment) -> Experiment:
    """Return the experiment guided by what `sampling.classifier` or `sampling.guide` names; itself without either.

    Raises:
        ValueError: if the folder holds no such model, or one of another SDE, of other data or of other classes.
        FileNotFoundError: if it is not trained.
    """
    section = experiment.config.sampling
    if section.classifier is not None:
        model, params = load(experiment, "classifier", ClassifierExperiment)
        classifier_fn = model.classifier_fn(params)

        def guide(score_fn, label, scale):
            return guidance.classifier(score_fn, classifier_fn, label, scale)

    elif section.guide is not None:
        model, params = load(experiment, "guide", type(experiment))

        def guide(score_fn, label, scale):
            return guidance.autoguidance(score_fn, model.score_fn(params, label if model.num_classes else None), scale)

    else:
        return experiment
    return dataclasses.replace(experiment, guide=guide)


def load(experiment: Experiment, name: str, kind: type[Experiment]) -> tuple[Experiment, PyTree]:
    """Return the model in the folder `sampling.<name>`, checked against the experiment, and its parameters."""
    given = experiment.config.sampling[name]
    folder = pathlib.Path(given)
    config = read_config(experiment, name, folder)
    if (config.objective == "classifier") != (kind is ClassifierExperiment):
        wanted = "a classifier" if kind is ClassifierExperiment else "a model of scores"
        raise ValueError(f"sampling.{name} must be the folder of {wanted}, got {given!r} of {config.objective!r}")
    network = stored.find(config, folder)
    model, params = stored.trained(
        kind.from_config(config) if network is None else kind.from_config(config, network), folder
    )
    theirs, ours = described(model), described(experiment)
    for what, value in theirs.items():
        if not eqx.tree_equal(value, ours[what]):
            raise ValueError(f"sampling.{name} must have the model's {what} {ours[what]}, got {value} in {given!r}")
    return model, params


def described(experiment: Experiment) -> dict[str, Any]:
    """Return what a model and its guide must share."""
    return {
        "SDE": experiment.sde,
        "shape of data": experiment.dataset.shape,
        "scaling of data": experiment.scaling,
        "number of classes": experiment.num_classes or experiment.dataset.num_classes,
    }


def read_config(experiment: Experiment, name: str, folder: pathlib.Path) -> ConfigDict:
    """Return the config that the model in a folder was trained with; for an exported network the experiment's own."""
    if (folder / "config.json").is_file():
        config = ConfigDict(json.loads((folder / "config.json").read_text(), object_hook=_with_tuples))
    elif (folder / FILE).is_file():
        config = experiment.config.copy_and_resolve_references()
        config.pretrained = None
    else:
        raise ValueError(f"sampling.{name} must be the folder of a trained model, got {str(folder)!r}")
    # How that model itself would be sampled does not matter.
    unguided = {"label": None, "guidance": 1.0, "classifier": None, "guide": None, "guidance_interval": None}
    config.sampling = {**experiment.config.sampling, **config.sampling, **unguided}
    return config


def _with_tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
