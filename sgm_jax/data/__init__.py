"""Data: datasets by name, and batches of them."""

from sgm_jax.data import catalogue, embedded, files, generated, phantoms, toy
from sgm_jax.data.dataset import ArraySource, Dataset, Source, absent, gather
from sgm_jax.data.pipeline import training_batches
from sgm_jax.naming import choose, construct

DATASETS = {
    "arrays": files.arrays,
    "digits": embedded.digits,
    "folder": files.folder,
    "generated": generated.generated,
    "mnist": embedded.mnist,
    "patches": embedded.patches,
    "phantoms": phantoms.phantoms,
    "tfds": catalogue.tfds,
    **toy.DENSITIES,
}


def load(name: str, **options) -> Dataset:
    """Load a dataset by name.

    Args:
        name: one of `DATASETS`.
        **options: of the function of that name; None leaves an option at its default.

    Raises:
        ValueError: if the name or an option is unknown, or the data are not usable.
    """
    return construct(f"data {name!r}", choose("data.name", name, DATASETS), options)


__all__ = ["DATASETS", "ArraySource", "Dataset", "Source", "absent", "gather", "load", "training_batches"]
