"""Data: datasets by name, and batches of them."""

import inspect
import pathlib

from sgm_jax.data import arrays, catalogue, embedded, generated, hub, images, medical, named, phantoms, toy
from sgm_jax.data.cache import Cached, cached
from sgm_jax.data.dataset import ArraySource, BrokenExample, Dataset, Source, absent, gather
from sgm_jax.data.images import read_images
from sgm_jax.data.outline import outline
from sgm_jax.data.pipeline import training_batches
from sgm_jax.data.records import Prepared
from sgm_jax.naming import choose, missing_options, set_options

DATASETS = {
    "arrays": arrays.arrays,
    "digits": embedded.digits,
    "folder": images.folder,
    "generated": generated.generated,
    "huggingface": hub.huggingface,
    "medical": medical.medical,
    "mnist": embedded.mnist,
    "patches": embedded.patches,
    "phantoms": phantoms.phantoms,
    "tfds": catalogue.tfds,
    **named.NAMED,
    **toy.DENSITIES,
}
AT_HAND = ("digits", "generated", "mnist", "patches", "phantoms", *toy.DENSITIES)
"""Those that come with the library."""


def load(name: str, **options) -> Dataset:
    """Load a dataset by name.

    Args:
        name: one of `DATASETS`.
        **options: of the function of that name; None leaves an option at its default.

    Raises:
        ValueError: if the name or an option is unknown, or the data are not prepared or not usable.
    """
    found = _find(name, options)
    return found if isinstance(found, Dataset) else found.load()


def prepare(name: str, **options) -> pathlib.Path | None:
    """Download a dataset where it needs that, and write it as array_record files.

    A preparation that was killed goes on where it was, and leaves nothing that looks whole.

    Args:
        name: one of `DATASETS`.
        **options: of the function of that name; None leaves an option at its default.

    Returns:
        The folder of the files; None for data that are read as they are.

    Raises:
        ValueError: if the name or an option is unknown, or the data cannot be had or are not usable.
    """
    found = _find(name, options)
    return None if isinstance(found, Dataset) else found.prepare()


def _find(name: str, options: dict) -> Dataset | Prepared | catalogue.Catalogued:
    function = choose("data.name", name, DATASETS)
    try:
        given = set_options(f"data {name!r}", function, options)
    except ValueError as error:
        wanted = {option for option, value in options.items() if value is not None}
        others = [other for other in DATASETS if wanted <= set(inspect.signature(DATASETS[other]).parameters)]
        hint = f"; data.name {' or '.join(others)} takes all that is given" if others else ""
        raise ValueError(f"{error}{hint}") from error
    missing = missing_options(function, given)
    if missing:
        raise ValueError(f"data {name!r} needs {' and '.join(missing)}: set --config.data.{missing[0]}")
    return function(**given)


def describe(name: str, classes: int | None = None, /, **options) -> Dataset:
    """Load a dataset that comes with the library, or describe one that lies elsewhere, without its examples.

    Args:
        name: one of `DATASETS`.
        classes: number of classes of one that lies elsewhere, unless the options have `num_classes`; None without
            labels.
        **options: as for `load`.

    Raises:
        ValueError: if the name is unknown, or nothing tells what the examples look like.
    """
    choose("data.name", name, DATASETS)
    return load(name, **options) if name in AT_HAND else outline(name, **{"num_classes": classes} | options)


__all__ = [
    "AT_HAND",
    "DATASETS",
    "ArraySource",
    "BrokenExample",
    "Cached",
    "Dataset",
    "Prepared",
    "Source",
    "absent",
    "cached",
    "describe",
    "gather",
    "load",
    "outline",
    "prepare",
    "read_images",
    "training_batches",
]
