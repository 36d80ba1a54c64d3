"""Data sets that Hugging Face's `datasets` saved to a folder; that package is needed to read them."""

import dataclasses
import pathlib
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from sgm_jax.data import crops
from sgm_jax.data.dataset import BrokenExample, Dataset, Example
from sgm_jax.data.images import CHANNELS
from sgm_jax.data.places import BROKEN
from sgm_jax.naming import unknown


@dataclasses.dataclass(frozen=True)
class HubSource:
    """Examples of one split.

    Args:
        rows: the split, as `datasets` reads it.
        where: the rows that are examples.
        image_key: name of the column of images.
        label_key: name of the column of classes, or None.
        mode: Pillow's name of the colour mode to convert to.
        crop: what makes images of one size, or None.
    """

    rows: Any
    where: range | np.ndarray
    image_key: str
    label_key: str | None
    mode: str
    crop: Callable[[Any], Any] | None

    def __len__(self) -> int:
        return len(self.where)

    def __getitem__(self, index: int) -> Example:
        row = int(self.where[index])
        try:
            record = self.rows[row]
            image = record[self.image_key].convert(self.mode)
            x = np.asarray(image if self.crop is None else self.crop(image))
        except BROKEN as error:
            raise BrokenExample(f"image in row {row} is broken: {error}") from error
        x = x[..., None] if x.ndim == 2 else x
        return {"x": x} if self.label_key is None else {"x": x, "label": np.int32(record[self.label_key])}


def huggingface(
    path: str,
    image_key: str = "image",
    label_key: str | None = None,
    train_split: str = "train",
    test_split: str = "test",
    size: int | None = None,
    channels: int = 3,
    test_fraction: float = 0.1,
) -> Dataset:
    """Load a folder that `datasets.Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote.

    Args:
        path: the folder.
        image_key: name of the column of images.
        label_key: name of the column of classes (`ClassLabel`); without it there are no labels.
        train_split: split to train on, where there are splits.
        test_split: split to hold out, where there are splits.
        size: height and width to crop and resize to; None takes images to be all of the first one's size.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA), to convert to.
        test_fraction: share of the rows held out, by a hash of their numbers, where there are no splits.

    Raises:
        ValueError: if `datasets` is not installed, the folder is not one of its own, or a split or column is missing.
    """
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(
            "data 'huggingface' need the package datasets, which is not installed: pip install datasets"
        ) from error
    if channels not in CHANNELS:
        raise ValueError(f"channels must be one of {', '.join(map(str, CHANNELS))}, got {channels}")
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction must lie between 0 and 1, got {test_fraction}")
    root = pathlib.Path(path).expanduser()
    try:
        loaded = datasets.load_from_disk(str(root))
    except (OSError, ValueError) as error:
        raise ValueError(f"path must be a folder that datasets saved, got {str(root)!r}: {error}") from error
    if isinstance(loaded, dict):
        for split in (train_split, test_split):
            if split not in loaded:
                raise unknown("split", split, loaded)
        parts = [(loaded[split], range(len(loaded[split]))) for split in (train_split, test_split)]
    else:
        score = [zlib.crc32(str(row).encode()) for row in range(len(loaded))]
        order = np.argsort(score, kind="stable")
        cut = max(1, round(test_fraction * len(loaded)))
        parts = [(loaded, np.sort(order[cut:])), (loaded, np.sort(order[:cut]))]
    features = parts[0][0].features
    for key in (image_key, *([label_key] if label_key else [])):
        if key not in features:
            raise unknown("column", key, features)
    crop = None if size is None else crops.Square(size)
    train, test = (HubSource(rows, where, image_key, label_key, CHANNELS[channels], crop) for rows, where in parts)
    classes = features[label_key].num_classes if label_key else None
    return Dataset(train, test, train[0]["x"].shape, 256, classes, root.name)
