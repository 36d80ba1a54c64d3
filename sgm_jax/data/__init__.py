"""Data: datasets by name, and batches of them."""

from sgm_jax.data import catalogue, embedded, files, phantoms, toy
from sgm_jax.data.dataset import ArraySource, Dataset, Source, absent, gather
from sgm_jax.data.outline import outline
from sgm_jax.data.pipeline import training_batches
from sgm_jax.naming import choose, construct

DATASETS = {
    "arrays": files.arrays,
    "digits": embedded.digits,
    "folder": files.folder,
    "mnist": embedded.mnist,
    "patches": embedded.patches,
    "phantoms": phantoms.phantoms,
    "tfds": catalogue.tfds,
    **toy.DENSITIES,
}
AT_HAND = ("digits", "mnist", "patches", "phantoms", *toy.DENSITIES)
"""Those that come with the library."""


def load(name: str, **options) -> Dataset:
    """Load a dataset by name.

    Args:
        name: one of `DATASETS`.
        **options: of the function of that name; None leaves an option at its default.

    Raises:
        ValueError: if the name or an option is unknown, or the data are not usable.
    """
    return construct(f"data {name!r}", choose("data.name", name, DATASETS), options)


def describe(name: str, num_classes: int | None = None, **options) -> Dataset:
    """Load a dataset that comes with the library, or describe one that lies elsewhere, without its examples.

    Args:
        name: one of `DATASETS`.
        num_classes: number of classes of one that lies elsewhere, None without labels.
        **options: as for `load`.

    Raises:
        ValueError: if the name is unknown, or nothing tells what the examples look like.
    """
    choose("data.name", name, DATASETS)
    return load(name, **options) if name in AT_HAND else outline(name, num_classes, **options)


__all__ = [
    "AT_HAND",
    "DATASETS",
    "ArraySource",
    "Dataset",
    "Source",
    "absent",
    "describe",
    "gather",
    "load",
    "outline",
    "training_batches",
]
