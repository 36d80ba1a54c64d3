"""What to decide before training."""

import dataclasses
import pathlib

import jax.numpy as jnp
import numpy as np

from sgm_jax import data as datasets
from sgm_jax import suggest as suggestions
from sgm_jax.experiment import Experiment
from sgm_jax.modes.shared import write_json

SUGGEST_FROM = 5000  # examples whose distances are looked at


def suggest(experiment: Experiment, workdir: pathlib.Path) -> int:
    """Write noise levels and Langevin steps that suit the data to `suggestion.json`; returns the exit code."""
    train = experiment.dataset.train
    index = np.unique(np.linspace(0, len(train) - 1, min(len(train), SUGGEST_FROM)).astype(int))
    data = np.asarray(experiment.scaling.to_model(jnp.asarray(datasets.gather(train, index)["x"])), np.float32)
    result = dataclasses.asdict(suggestions.suggest(data))
    write_json(workdir / "suggestion.json", result)
    for name, value in result.items():
        print(f"{name:>15} {value:.4g}")
    return 0
