"""Any data set of tensorflow-datasets, read through array_record without TensorFlow."""

import dataclasses
from typing import Any

import numpy as np

from sgm_jax.data.dataset import Dataset, Example
from sgm_jax.data.files import crop_and_resize


@dataclasses.dataclass(frozen=True)
class TfdsSource:
    """Examples of one split.

    Args:
        records: tfds's random-access source.
        image_key: name of the image feature.
        label_key: name of the label feature, or None.
        size: height and width to crop and resize to, or None.
    """

    records: Any
    image_key: str
    label_key: str | None
    size: int | None

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Example:
        record = self.records[index]
        x = np.asarray(record[self.image_key])
        if self.size is not None and x.shape[:2] != (self.size, self.size):
            from PIL import Image

            resized = np.asarray(crop_and_resize(Image.fromarray(x.squeeze(-1) if x.shape[-1] == 1 else x), self.size))
            x = resized.reshape(self.size, self.size, -1)
        return {"x": x} if self.label_key is None else {"x": x, "label": np.int32(record[self.label_key])}


def tfds(
    dataset: str,
    data_dir: str | None = None,
    train_split: str = "train",
    test_split: str = "test",
    image_key: str = "image",
    label_key: str | None = None,
    size: int | None = None,
) -> Dataset:
    """Load a prepared data set of tensorflow-datasets.

    Prepare it once with `tfds.builder(name, file_format="array_record").download_and_prepare()`.

    Args:
        dataset: tfds's name, such as `cifar10`.
        data_dir: tfds's folder; its default unless given.
        train_split: split to train on.
        test_split: split to hold out.
        image_key: name of the image feature.
        label_key: name of the label feature; without it there are no labels.
        size: height and width to crop and resize to; None asks for images of one size.

    Raises:
        ValueError: if the data set is unknown or not prepared, or a split or feature is missing.
    """
    # tfds looks for TensorFlow when it is imported, and does without.
    import tensorflow_datasets

    try:
        builder = tensorflow_datasets.builder(dataset, data_dir=data_dir, file_format="array_record")
        sources = builder.as_data_source()
    except (tensorflow_datasets.core.DatasetNotFoundError, AssertionError, FileNotFoundError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"dataset {dataset!r} is not prepared in {data_dir or 'the default data_dir'} in array_record format: "
            f"{reason}"
        ) from error
    for split in (train_split, test_split):
        if split not in sources:
            raise ValueError(f"split must be one of {', '.join(sources)}, got {split!r}")
    features = builder.info.features
    for key in (image_key, *([label_key] if label_key else [])):
        if key not in features:
            raise ValueError(f"feature must be one of {', '.join(features)}, got {key!r}")
    train, test = (TfdsSource(sources[split], image_key, label_key, size) for split in (train_split, test_split))
    shape = train[0]["x"].shape
    if size is None and None in features[image_key].shape:
        raise ValueError(f"images of {dataset!r} differ in size: set size to crop and resize them all")
    classes = features[label_key].num_classes if label_key else None
    return Dataset(train, test, shape, 256, classes, dataset)
