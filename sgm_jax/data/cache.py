"""Decoded examples kept in memory, so that each is read once."""

import dataclasses
import threading

import numpy as np
from jaxtyping import Int

from sgm_jax.data.dataset import ArraySource, Dataset, Example, Source, gather


class Cached:
    """A source whose examples stay in memory once they were asked for.

    Args:
        source: what is read, an example at its first use.
    """

    def __init__(self, source: Source):
        self._source, self._there = source, np.zeros(len(source), bool)
        self._memory: dict[str, np.ndarray] = {}
        self._filling = threading.Lock()

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Example:
        return {name: values[0] for name, values in self.take(np.array([index])).items()}

    def take(self, indices: Int[np.ndarray, " b"]) -> Example:
        """Return a batch, reading what is not there yet."""
        indices = np.asarray(indices)
        with self._filling:
            missing = np.unique(indices[~self._there[indices]])
            if len(missing):
                self._fill(missing)
        return {name: values[indices] for name, values in self._memory.items()}

    def _fill(self, missing: Int[np.ndarray, " m"]) -> None:
        read = gather(self._source, missing)
        if not self._memory:
            self._memory = {name: np.empty((len(self), *part.shape[1:]), part.dtype) for name, part in read.items()}
        for name, part in read.items():
            self._memory[name][missing] = part
        self._there[missing] = True


def cached(dataset: Dataset, limit: int) -> Dataset:
    """Return the data set with both parts cached, if together they take at most `limit` bytes; otherwise as it is.

    Raises:
        ValueError: if `limit` is negative.
    """
    if limit < 0:
        raise ValueError(f"cache must be at least 0 bytes, got {limit}")
    parts = {"train": dataset.train, "test": dataset.test}
    sources = {id(part): part for part in parts.values() if not isinstance(part, ArraySource) and len(part)}
    if not sources:
        return dataset
    size = sum(len(source) * np.asarray(source[0]["x"]).nbytes for source in sources.values())
    if size > limit:
        return dataset
    wrapped = {key: Cached(source) for key, source in sources.items()}
    return dataclasses.replace(dataset, **{name: wrapped.get(id(part), part) for name, part in parts.items()})
