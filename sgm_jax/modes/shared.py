"""What the modes share: the randomness, data and folder of an experiment."""

import hashlib
import json
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from sgm_jax import data as datasets
from sgm_jax.convert.description import describe
from sgm_jax.experiment import Experiment
from sgm_jax.scaling import Scaling
from sgm_jax.training.checkpoint import to_json
from sgm_jax.version import __version__

# Streams of randomness, each a function of the config's seed alone.
TRAINING_DATA, HELD_OUT, SAMPLES, LIKELIHOOD, INVERSE, CLASSIFIER, FILM, LATENTS, CALIBRATION, SELECTION, PAIRS = range(
    11
)


class Unsuitable(ValueError):
    """The data do not allow what was asked for."""


def is_image(experiment: Experiment) -> bool:
    """Tell whether the data are images [h, w, c]."""
    return len(experiment.dataset.shape) == 3


def is_restorable(experiment: Experiment) -> bool:
    """Tell whether inverse problems can be posed: for images that the model's data are in proportion to."""
    return is_image(experiment) and isinstance(experiment.scaling, Scaling)


def is_labelled(experiment: Experiment) -> bool:
    """Tell whether the data are 8-bit images with labels, so that a classifier can judge samples."""
    return is_image(experiment) and experiment.dataset.levels == 256 and bool(experiment.dataset.num_classes)


def check_workdir(workdir: pathlib.Path) -> None:
    """Make the folder of a run and make sure that it can be written to.

    Raises:
        OSError: if it cannot, saying so with its name.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir):
            pass
    except OSError as error:
        raise OSError(f"workdir {str(workdir)!r} cannot be written to: {error.strerror or error}") from error


def stream(experiment: Experiment, number: int) -> jax.Array:
    """Return the PRNG key of one stream of randomness."""
    return jax.random.fold_in(jax.random.key(experiment.config.seed), number)


def examples(experiment: Experiment, split: str) -> datasets.Source:
    """Return the examples of a split, "train" or "test".

    Raises:
        Unsuitable: if there are none.
    """
    source = getattr(experiment.dataset, split)
    if not len(source):
        raise Unsuitable(f"this mode needs data, got data.name={experiment.dataset.name!r}; set --config.data.name")
    return source


def available(source: datasets.Source, count: int | None) -> int:
    """Return `count`, or how many examples there are where they are fewer or `count` is None."""
    return len(source) if count is None else min(count, len(source))


def held_out_batch(experiment: Experiment, count: int) -> dict[str, np.ndarray]:
    """Return the first `count` held-out examples (or all there are) as one batch.

    Raises:
        Unsuitable: if there are none.
    """
    source = examples(experiment, "test")
    return datasets.gather(source, range(available(source, count)))


def write_json(path: pathlib.Path, value: Any) -> None:
    """Write a value as JSON."""
    path.write_text(json.dumps(to_json(value), indent=1) + "\n")


def dependencies(experiment: Experiment, params: Any, parts: Sequence[str]) -> dict[str, Any]:
    """Return all that a measurement of a network depends on, by name.

    Args:
        experiment: of the network.
        params: the network's parameters.
        parts: sections of the config that it depends on.
    """
    config = experiment.config.to_dict()
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        digest.update(np.asarray(leaf).tobytes())
    return {
        "parameters": digest.hexdigest(),
        "sgm_jax": __version__,
        "jax": jax.__version__,
        "backend": jax.default_backend(),
        "seed": config["seed"],
        **{name: describe(getattr(experiment, name)) for name in ("network", "sde", "prediction", "scaling")},
        **{f"{part}.{name}": value for part in parts for name, value in config[part].items()},
    }
