"""What a dataset is: two random-access sources and what must be known of their examples."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int, Shaped

Example = dict[str, Any]


class BrokenExample(ValueError):
    """An example cannot be read; the message names it."""


@runtime_checkable
class Source(Protocol):
    """Random access to examples, dicts of `x` [h, w, c] or [d] and, where there are labels, an integer `label`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...


@runtime_checkable
class BatchedSource(Source, Protocol):
    """A source that reads many examples faster than one by one."""

    def take(self, indices: Any) -> Example:
        """Return a batch for an array of indices."""
        ...


@dataclasses.dataclass(frozen=True)
class ArraySource:
    """Examples held in memory.

    Args:
        x: all examples [n, ...].
        label: their classes [n], or None.
    """

    x: Shaped[np.ndarray, "n ..."]
    label: Int[np.ndarray, " n"] | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Example:
        return self.take(index)

    def take(self, index: Any) -> Example:
        """Return one example, or a batch for an array of indices."""
        return {"x": self.x[index]} if self.label is None else {"x": self.x[index], "label": self.label[index]}


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Training and held-out examples.

    Args:
        train: training examples.
        test: held-out examples.
        shape: shape of one example's `x`.
        levels: number of integer values of `x` (256 for 8-bit images), or None for continuous data.
        num_classes: number of classes, or None without labels.
        name: what it is called.
    """

    train: Source
    test: Source
    shape: tuple[int, ...]
    levels: int | None
    num_classes: int | None
    name: str


def absent(shape: tuple[int, ...], levels: int | None) -> Dataset:
    """Return a dataset without examples, for networks whose data are not at hand."""
    nothing = ArraySource(np.zeros((0, *shape), np.float32 if levels is None else np.uint8))
    return Dataset(nothing, nothing, shape, levels, None, "none")


def gather(source: Source, indices: Sequence[int] | range | Int[np.ndarray, " b"]) -> dict[str, np.ndarray]:
    """Return the examples at `indices` as one batch: `x` [b, ...] and, where there are labels, `label` [b]."""
    if isinstance(source, BatchedSource):
        return source.take(np.asarray(indices))
    examples = [source[int(index)] for index in indices]
    return {name: np.stack([np.asarray(example[name]) for example in examples]) for name in examples[0]}


def stratified_split(label: Int[np.ndarray, " n"], test_per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of a training and a test part with `test_per_class` test examples of each class, shuffled."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(label))
    held_out = [order[label[order] == value][:test_per_class] for value in np.unique(label)]
    test = generator.permutation(np.concatenate(held_out))
    return order[~np.isin(order, test)], test
