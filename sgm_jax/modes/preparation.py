"""Before an experiment: data on disk, and configs that are sized to data and machine."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from sgm_jax import data as datasets
from sgm_jax import sizing
from sgm_jax.components import data_options, load_data, make_scaling
from sgm_jax.modes.shared import write_json
from sgm_jax.naming import choose

SIZES = "sizing.json"
LOOKED_AT = 2000  # examples whose scale and distances decide


def prepare(config: ConfigDict) -> int:
    """Download and write the data that the config names as array_record files; returns the exit code.

    Raises:
        ValueError: if a name or option is unknown, or the data cannot be had or are not usable, saying how to get them.
    """
    folder = datasets.prepare(config.data.name, **data_options(config.data))
    if folder is None:
        print(f"data {config.data.name!r} are read as they are and need no preparation")
        return 0
    dataset = datasets.load(config.data.name, **data_options(config.data))
    classes = f", {dataset.num_classes} classes" if dataset.num_classes else ""
    print(f"{folder}: {len(dataset.train)} and {len(dataset.test)} examples of shape {dataset.shape}{classes}")
    return 0


def sized(config: ConfigDict, workdir: pathlib.Path) -> ConfigDict:
    """Return the config with its sizes chosen for data and machine, where its field `sizing` is "data".

    Fields that are None are chosen; what is chosen is kept in the run's `sizing.json`, so that every later mode has the
    same sizes whatever machine it is on.

    Raises:
        ValueError: if the data are not usable, or do not tell their scale.
    """
    chosen = sizes(config, workdir)
    if chosen and not (workdir / SIZES).is_file():
        write_json(workdir / SIZES, chosen)
    return with_sizes(config, chosen)


def sizes(config: ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
    """Return the sizes of a run by their fields: those it was started with, or else chosen now; none to be chosen.

    Raises:
        ValueError: if the data are not usable, or do not tell their scale.
    """
    choose("sizing", config.sizing, dict.fromkeys(("none", "data")))
    if config.sizing == "none":
        return {}
    if (workdir / SIZES).is_file():
        return json.loads((workdir / SIZES).read_text())
    dataset = load_data(config.data)
    scaling = make_scaling(config.data, dataset.levels)
    index = np.unique(np.linspace(0, len(dataset.train) - 1, min(len(dataset.train), LOOKED_AT)).astype(int))
    raw = jnp.asarray(datasets.gather(dataset.train, index)["x"])
    data = np.asarray(scaling.to_model(raw), np.float32)
    return sizing.choose_sizes(data, len(dataset.train), sizing.machine(jax.devices()))


def with_sizes(config: ConfigDict, sizes: Mapping[str, Any]) -> ConfigDict:
    """Return the config with those of its fields that are None put to their chosen sizes, itself without any."""
    if not sizes:
        return config
    config = config.copy_and_resolve_references()
    with config.unlocked():
        for name, value in sizes.items():
            section, field = name.split(".")
            if config[section].get(field) is None:
                config[section][field] = tuple(value) if isinstance(value, list) else value
    return config
