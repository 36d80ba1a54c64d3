"""Data sets of tensorflow-datasets: prepared and read as array_record, without TensorFlow."""

import contextlib
import dataclasses
import os
import pathlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np
from PIL import Image

from sgm_jax.data.crops import Square
from sgm_jax.data.dataset import BrokenExample, Dataset, Example
from sgm_jax.data.places import BROKEN

ARCHIVES = "tensorflow_datasets.core.download.extractor"


@contextlib.contextmanager
def _open(path: os.PathLike | str, mode: str = "r") -> Iterator[IO]:
    """Open a file as `tf.io.gfile.GFile` does: archives are still read when their block is over, as CelebA's is."""
    file = open(path, mode)
    yield file
    if mode != "rb":
        file.close()


# What builders of tfds and its archives take of TensorFlow to read what was downloaded.
FILES = types.SimpleNamespace(
    io=types.SimpleNamespace(gfile=types.SimpleNamespace(GFile=_open, exists=os.path.exists, listdir=os.listdir)),
    compat=types.SimpleNamespace(as_text=os.fsdecode),
)


@dataclasses.dataclass(frozen=True)
class TfdsSource:
    """Examples of one split.

    Args:
        records: tfds's random-access source.
        image_key: name of the image feature.
        label_key: name of the label feature, or None.
        crop: what makes images `(image) -> image` of one size, or None.
    """

    records: Any
    image_key: str
    label_key: str | None
    crop: Callable[[Any], Any] | None

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Example:
        try:
            record = self.records[index]
        except BROKEN as error:
            raise BrokenExample(f"example {index} of {self.records!r} is broken: {error}") from error
        x = np.asarray(record[self.image_key])
        if self.crop is not None:
            x = np.asarray(self.crop(Image.fromarray(x.squeeze(-1) if x.shape[-1] == 1 else x)))
            x = x.reshape(*x.shape[:2], -1)
        return {"x": x} if self.label_key is None else {"x": x, "label": np.int32(record[self.label_key])}


@dataclasses.dataclass(frozen=True)
class Catalogued:
    """A data set of tensorflow-datasets.

    Args:
        name: what it is called here.
        dataset: tfds's name, such as `cifar10` or `lsun/bedroom`.
        data_dir: tfds's folder; its default unless given.
        train_split: split to train on.
        test_split: split to hold out.
        image_key: name of the image feature.
        label_key: name of the label feature; without it there are no labels.
        crop: what makes images of one size; None asks for images that are.
    """

    name: str
    dataset: str
    data_dir: str | None = None
    train_split: str = "train"
    test_split: str = "test"
    image_key: str = "image"
    label_key: str | None = None
    crop: Callable[[Any], Any] | None = None

    def load(self) -> Dataset:
        """Return the prepared data.

        Raises:
            ValueError: if the data set is unknown or not prepared, or a split or feature is missing.
        """
        # tfds looks for TensorFlow when it is imported, and does without.
        import tensorflow_datasets

        try:
            builder = self._builder()
            sources = builder.as_data_source()
            if not sources:
                raise FileNotFoundError("there are no files")
        except (tensorflow_datasets.core.DatasetNotFoundError, AssertionError, FileNotFoundError, ValueError) as error:
            raise ValueError(
                f"dataset {self.dataset!r} is not prepared in {self.data_dir or 'the default data_dir'} in "
                f"array_record format: {_line(error)}; prepare it, once, with launch.py --mode=prepare and the same "
                "--config.data options"
            ) from error
        for split in (self.train_split, self.test_split):
            if split not in sources:
                raise ValueError(f"split must be one of {', '.join(sources)}, got {split!r}")
        features = builder.info.features
        keys = [self.image_key, *([self.label_key] if self.label_key else [])]
        for key in keys:
            if key not in features:
                raise ValueError(f"feature must be one of {', '.join(features)}, got {key!r}")
        train, test = (
            TfdsSource(sources[split], self.image_key, self.label_key, self.crop)
            for split in (self.train_split, self.test_split)
        )
        shape = train[0]["x"].shape
        if self.crop is None and None in features[self.image_key].shape:
            raise ValueError(f"images of {self.dataset!r} differ in size: set size to crop and resize them all")
        classes = features[self.label_key].num_classes if self.label_key else None
        return Dataset(train, test, shape, 256, classes, self.name)

    def prepare(self) -> pathlib.Path:
        """Download the data, or find them in tfds's `downloads/manual`, write array_records, and return their folder.

        tfds checks the downloads' checksums, and gives the folder its name only once it is whole.

        Raises:
            ValueError: if the data set is unknown, or its data cannot be had or have another checksum.
        """
        import tensorflow_datasets
        from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
        from tensorflow_datasets.core.download.extractor import ExtractError
        from tensorflow_datasets.core.download.util import DownloadError

        try:
            builder = self._builder()
            with without_tensorflow(builder):
                builder.download_and_prepare()
        except NonMatchingChecksumError as error:
            raise ValueError(
                f"checksum of a download of {self.dataset!r} is wrong: {_line(error)}; delete the file and try again"
            ) from error
        except (
            tensorflow_datasets.core.DatasetNotFoundError,
            DownloadError,
            ExtractError,
            AssertionError,
            OSError,
        ) as error:
            raise ValueError(
                f"data {self.dataset!r} could not be had: {_line(error)}; docs/data.md says where they are and where "
                "files that were downloaded by hand belong"
            ) from error
        return pathlib.Path(builder.data_path)

    def _builder(self) -> Any:
        import tensorflow_datasets

        return tensorflow_datasets.builder(self.dataset, data_dir=self.data_dir, file_format="array_record")


def tfds(
    dataset: str,
    data_dir: str | None = None,
    train_split: str = "train",
    test_split: str = "test",
    image_key: str = "image",
    label_key: str | None = None,
    size: int | None = None,
) -> Catalogued:
    """Return any data set of tensorflow-datasets: see `Catalogued`, with `size` to crop and resize to."""
    crop = None if size is None else Square(size)
    return Catalogued(dataset, dataset, data_dir, train_split, test_split, image_key, label_key, crop)


@contextlib.contextmanager
def without_tensorflow(builder: Any) -> Iterator[None]:
    """Let a builder of tfds read its files and encode its images with Python alone while the block runs.

    Builders open files and archives with `tf.io.gfile`, encode arrays of pixels with `tf.io`, and read LSUN's databases
    with `tensorflow_io`.
    """
    with contextlib.ExitStack() as undo:

        def put(owner: Any, name: str, value: Any) -> None:
            undo.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)

        for name, module in list(sys.modules.items()):
            builders = name.startswith("tensorflow_datasets.") and not name.startswith("tensorflow_datasets.core")
            if (builders or name == ARCHIVES) and "tf" in vars(module):
                put(module, "tf", FILES)
        for feature in builder.info.features.values():
            if hasattr(feature, "encoding_format"):
                put(feature, "encode_example", _encode_with_pillow(feature.encode_example))
        if builder.name == "lsun":
            put(builder, "_generate_examples", _lsun_examples)
        yield


def _encode_with_pillow(encode: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def encode_example(image):
        if not isinstance(image, np.ndarray):
            return encode(image)
        return encode(Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image))

    return encode_example


def _lsun_examples(extracted_dir: os.PathLike | str, file_path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        import lmdb  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        message = "LSUN's files are databases of the package lmdb, which is not installed: pip install lmdb"
        raise FileNotFoundError(message) from error

    with lmdb.open(os.path.join(extracted_dir, file_path), readonly=True, lock=False) as database:
        with database.begin() as transaction:
            for number, (key, image) in enumerate(transaction.cursor()):
                yield number, {"id": key.decode(), "image": bytes(image)}


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
