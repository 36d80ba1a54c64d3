"""Data sets without their examples, for what needs only to know how those look."""

import dataclasses
from typing import Any

from sgm_jax.data.dataset import Dataset, absent

SHAPES = {"cifar10": (32, 32, 3), "fashion_mnist": (28, 28, 1), "full_mnist": (28, 28, 1), "svhn": (32, 32, 3)}
"""Of images that have a size of their own."""
CHANNELS = {"medical": 1}
"""Of images without colour."""


def outline(
    name: str,
    num_classes: int | None = None,
    size: int | None = None,
    channels: int | None = None,
    shape: tuple[int, ...] | None = None,
    **options: Any,
) -> Dataset:
    """Describe a data set that lies elsewhere.

    Args:
        name: its name.
        num_classes: number of its classes, None without labels.
        size: height and width of 8-bit images.
        channels: their channels, 3 unless given.
        shape: shape of an example of continuous numbers, in place of a size.
        **options: its other options, which change nothing here.

    Raises:
        ValueError: if neither a size nor a shape is given, and the images have no size of their own.
    """
    if size is None and shape is None and name in SHAPES:
        size, _, channels = SHAPES[name]
    if shape is not None:
        data = absent(tuple(shape), None)
    elif size is not None:
        data = absent((size, size, channels or CHANNELS.get(name, 3)), 256)
    else:
        raise ValueError(f"data.size or data.shape must be given to plan without the data {name!r}, got neither")
    return dataclasses.replace(data, num_classes=num_classes or None, name=name)
