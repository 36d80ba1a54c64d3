"""Prepared data: decoded examples in array_record files, shard by shard, so that a killed preparation goes on."""

import concurrent.futures
import dataclasses
import functools
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import logging
from array_record.python import array_record_module
from array_record.python.array_record_data_source import ArrayRecordDataSource

from sgm_jax.data.dataset import BrokenExample, Dataset, Example, Source
from sgm_jax.naming import choose

INDEX, ORIGIN = "dataset.json", "origin.json"
SHARD = 4096  # examples a file
CORRUPT = ("fatal", "skip")


@dataclasses.dataclass(frozen=True)
class RecordSource:
    """Examples of one split, each the bytes of its label, where there are labels, and of its numbers.

    Args:
        paths: the array_record files.
        shape: shape of one example.
        dtype: numpy's name of the type of its numbers.
        labelled: whether there are labels.
    """

    paths: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    labelled: bool

    @functools.cached_property
    def _records(self) -> ArrayRecordDataSource:
        return ArrayRecordDataSource(list(self.paths))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_records"}

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Example:
        return {name: values[0] for name, values in self.take([index]).items()}

    def take(self, indices: Any) -> Example:
        """Return a batch."""
        records = self._records.__getitems__([int(index) for index in indices])
        rows = np.frombuffer(b"".join(records), np.uint8).reshape(len(records), -1)
        start = 4 if self.labelled else 0
        x = np.ascontiguousarray(rows[:, start:]).view(self.dtype).reshape(-1, *self.shape)
        if not self.labelled:
            return {"x": x}
        return {"x": x, "label": np.ascontiguousarray(rows[:, :4]).view("<i4")[:, 0]}


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A data set that is read from records, which `prepare` makes.

    Args:
        name: what it is called.
        folder: where the records lie.
        origin: what they are made from, as values of JSON: records of anything else are not read.
        examples: returns the data set to make them from.
        fetch: called before it, such as a download.
        corrupt: what a broken example is while records are made: "fatal", or to "skip" with a warning.
    """

    name: str
    folder: pathlib.Path
    origin: dict[str, Any]
    examples: Callable[[], Dataset]
    fetch: Callable[[], Any] = lambda: None
    corrupt: str = "fatal"

    def __post_init__(self):
        choose("corrupt", self.corrupt, dict.fromkeys(CORRUPT))

    def load(self) -> Dataset:
        """Return the prepared data.

        Raises:
            ValueError: if they are not prepared, or were from something else.
        """
        index = self.folder / INDEX
        if not index.is_file() or json.loads((self.folder / ORIGIN).read_text()) != self.origin:
            state = "were prepared from something else" if index.is_file() else "are not prepared"
            raise ValueError(
                f"data {self.name!r} {state} in {str(self.folder)!r}; prepare them, once, with launch.py "
                "--mode=prepare and the same --config.data options (docs/data.md says where to get the data)"
            )
        facts = json.loads(index.read_text())
        shape = tuple(facts["shape"])
        train, test = (
            RecordSource(
                tuple(str(self.folder / name) for name in facts[split]), shape, facts["dtype"], facts["labelled"]
            )
            for split in ("train", "test")
        )
        return Dataset(train, test, shape, facts["levels"], facts["num_classes"], self.name)

    def prepare(self) -> pathlib.Path:
        """Make the records, or those that are still missing, and return their folder.

        A file has its name only once it is whole, and the index is written last.

        Raises:
            ValueError: if the data cannot be had, or an example is broken and `corrupt` is "fatal".
        """
        self.fetch()
        origin = self.folder / ORIGIN
        if origin.is_file() and json.loads(origin.read_text()) != self.origin:
            shutil.rmtree(self.folder)
        if (self.folder / INDEX).is_file():
            return self.folder
        self.folder.mkdir(parents=True, exist_ok=True)
        _replace(origin, lambda path: path.write_text(json.dumps(self.origin)))
        dataset = self.examples()
        first = dataset.train[0]
        facts = {"shape": dataset.shape, "levels": dataset.levels, "num_classes": dataset.num_classes}
        facts |= {"dtype": np.asarray(first["x"]).dtype.str, "labelled": "label" in first}
        # Where papers evaluate on what they train on, it is stored once.
        facts["train"] = self._write(dataset.train, "train")
        facts["test"] = facts["train"] if dataset.test is dataset.train else self._write(dataset.test, "test")
        _replace(self.folder / INDEX, lambda path: path.write_text(json.dumps(facts)))
        return self.folder

    def _write(self, source: Source, split: str) -> list[str]:
        """Write one split's files and return their names."""
        count = -(-len(source) // SHARD)
        names = [f"{split}-{number:05d}-of-{count:05d}.array_record" for number in range(count)]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for number, name in enumerate(names):
                part = range(number * SHARD, min(len(source), (number + 1) * SHARD))
                if not (self.folder / name).is_file():
                    records = [record for record in pool.map(self._encode(source), part) if record is not None]
                    _replace(self.folder / name, functools.partial(_write_records, records))
        return names

    def _encode(self, source: Source) -> Callable[[int], bytes | None]:
        def encode(index):
            try:
                example = source[index]
            except BrokenExample as error:
                if self.corrupt == "fatal":
                    raise
                logging.warning("left out: %s", error)
                return None
            label = np.asarray(example["label"], "<i4").tobytes() if "label" in example else b""
            return label + np.ascontiguousarray(example["x"]).tobytes()

        return encode


def _write_records(records: Sequence[bytes], path: pathlib.Path) -> None:
    writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1,uncompressed")
    for record in records:
        writer.write(record)
    writer.close()


def _replace(path: pathlib.Path, write: Callable[[pathlib.Path], Any]) -> None:
    """Write a file so that it has its name only once it is whole."""
    part = path.with_name(path.name + ".part")
    write(part)
    os.replace(part, path)
