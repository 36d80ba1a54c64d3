"""The papers' data sets by name, each cropped, resized and split as in the papers.

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, appendices C and H.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any

from sgm_jax.data import crops
from sgm_jax.data.catalogue import Catalogued
from sgm_jax.data.images import folder
from sgm_jax.data.records import Prepared


def cifar10(data_dir: str | None = None) -> Catalogued:
    """CIFAR-10: 50,000 and 10,000 images, 32x32x3, 10 classes."""
    return Catalogued("cifar10", "cifar10", data_dir, label_key="label")


def svhn(data_dir: str | None = None) -> Catalogued:
    """Street-view house numbers, cropped: 73,257 and 26,032 digits, 32x32x3, 10 classes."""
    return Catalogued("svhn", "svhn_cropped", data_dir, label_key="label")


def full_mnist(data_dir: str | None = None) -> Catalogued:
    """All of MNIST: 60,000 and 10,000 digits, 28x28x1, 10 classes."""
    return Catalogued("full_mnist", "mnist", data_dir, label_key="label")


def fashion_mnist(data_dir: str | None = None) -> Catalogued:
    """Fashion-MNIST: 60,000 and 10,000 articles, 28x28x1, 10 classes."""
    return Catalogued("fashion_mnist", "fashion_mnist", data_dir, label_key="label")


def downsampled_imagenet(data_dir: str | None = None, size: int = 32) -> Catalogued:
    """ImageNet as likelihoods are published for it: 1,281,149 and 49,999 images, 32x32x3 or 64x64x3, no classes.

    Raises:
        ValueError: if `size` is another.

    References:
        van den Oord et al., Pixel Recurrent Neural Networks, 2016.
    """
    if size not in (32, 64):
        raise ValueError(f"size of data 'downsampled_imagenet' must be 32 or 64, got {size}")
    return Catalogued(
        "downsampled_imagenet",
        f"downsampled_imagenet/{size}x{size}",
        data_dir,
        test_split="validation",
        crop=crops.Square(size),
    )


def imagenet(data_dir: str | None = None, size: int = 64, corrupt: str = "fatal") -> Prepared:
    """ImageNet of 2012 with its 1,000 classes, 1,281,167 and 50,000 images, at any size (papers: 64, 256)."""
    return _cropped("imagenet", "imagenet2012", data_dir, size, crops.halve_then_bicubic, corrupt, label_key="label")


def celeba(data_dir: str | None = None, size: int = 64, corrupt: str = "fatal") -> Prepared:
    """CelebA: 162,770 and 19,867 faces, 64x64x3 from the central 140 pixels."""
    return _cropped("celeba", "celeb_a", data_dir, size, crops.celeba, corrupt)


def lsun(category: str = "bedroom", data_dir: str | None = None, size: int = 256, corrupt: str = "fatal") -> Prepared:
    """LSUN: one category of scenes (held out: its validation split) or objects (evaluated on what is trained on).

    Args:
        category: tfds's name of it: bedroom, church_outdoor, tower, cat, horse, ...
        data_dir: folder of the data sets.
        size: height and width; at 128 the resize is another one, as in score_sde.
        corrupt: what a broken image is while records are made: "fatal", or to "skip".
    """
    crop = crops.shortest_side if size == 128 else crops.centre_square
    scenes = ("bedroom", "bridge", "church_outdoor", "classroom", "conference_room", "dining_room", "kitchen")
    held_out = "validation" if category in (*scenes, "living_room", "restaurant", "tower") else "train"
    return _cropped(f"lsun_{category}", f"lsun/{category}", data_dir, size, crop, corrupt, test_split=held_out)


def faces(name: str) -> Callable[..., Any]:
    """Return the function of a set of square photographs in files, all of them for training and evaluation alike."""

    def load(path: str, size: int = 256, data_dir: str | None = None, filter: str = "box", corrupt: str = "fatal"):
        """Read photographs from a folder or zip archive, resized by averages as the published records are."""
        place = data_directory(data_dir)
        prepared = folder(path, size, 3, 0.0, None, filter, corrupt, data_dir=str(place))
        assert isinstance(prepared, Prepared)  # as it is in a data_dir
        return dataclasses.replace(prepared, name=name, folder=prepared.folder.with_name(f"{name}-{size}"))

    load.__name__ = name
    return load


def data_directory(data_dir: str | None) -> pathlib.Path:
    """Return the folder of the data sets: tfds's default unless given."""
    return pathlib.Path(data_dir or os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def _cropped(
    name: str,
    dataset: str,
    data_dir: str | None,
    size: int,
    crop: Callable[..., Any],
    corrupt: str,
    label_key: str | None = None,
    test_split: str = "validation",
) -> Prepared:
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    whole = Catalogued(
        name,
        dataset,
        data_dir,
        test_split=test_split,
        label_key=label_key,
        crop=functools.partial(crop, size=size),
    )
    place = data_directory(data_dir) / "sgm_jax" / f"{name}-{size}"
    origin = {"dataset": dataset, "size": size, "crop": crop.__name__}
    return Prepared(name, place, origin, whole.load, whole.prepare, corrupt)


NAMED = {
    "celeba": celeba,
    "celeba_hq": faces("celeba_hq"),
    "cifar10": cifar10,
    "downsampled_imagenet": downsampled_imagenet,
    "fashion_mnist": fashion_mnist,
    "ffhq": faces("ffhq"),
    "full_mnist": full_mnist,
    "imagenet": imagenet,
    "lsun": lsun,
    "svhn": svhn,
}
