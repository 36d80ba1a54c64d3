"""Datasets -> batches, through Grain: shuffled, endless, split over hosts, and resumable to the batch."""

from collections.abc import Iterator
from typing import Any

import grain
import numpy as np
from absl import flags
from jaxtyping import Int

from sgm_jax.data.cache import Cached
from sgm_jax.data.dataset import ArraySource, Source, gather


class Batches(Iterator):
    """Endless iterator of batches, whose position does not depend on how they are read.

    Args:
        batches: Grain's batches by number.
        workers: processes that read them, 0 for a thread of this one.
        prefetch: batches that are read ahead.
    """

    def __init__(self, batches: grain.MapDataset, workers: int, prefetch: int):
        self._batches, self._workers, self._prefetch = batches, workers, prefetch
        self._next, self._iterator = 0, None

    def __next__(self) -> dict[str, np.ndarray]:
        if self._iterator is None:
            self._iterator = iter(self._read(self._batches.slice(slice(self._next, None))))
        batch = next(self._iterator)
        self._next += 1
        return batch

    def get_state(self) -> dict[str, Any]:
        """Return the position, a small dict."""
        return {"next_index": self._next}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go to a position at once, without working through what came before."""
        self._next, self._iterator = int(state["next_index"]), None

    def _read(self, batches: grain.MapDataset) -> grain.IterDataset:
        if not self._workers:
            return batches.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=self._prefetch))
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # Grain asks flags of its own, which fail where no program has parsed any.
        return batches.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)).mp_prefetch(
            grain.MultiprocessingOptions(num_workers=self._workers, per_worker_buffer_size=self._prefetch)
        )


def training_batches(
    source: Source,
    batch_size: int,
    *,
    seed: int,
    rows: Int[np.ndarray, " rows"] | None = None,
    workers: int = 0,
    prefetch: int = 4,
) -> Batches:
    """Iterate over shuffled batches for ever.

    Every epoch is a new permutation, a function of `seed` and its number. The global batch does not depend on the
    number of hosts: each takes its own rows of it. The iterator's `get_state()` is a small dict of its position, and
    `set_state(...)` goes there at once, without working through what came before, with whatever number of workers.

    Args:
        source: the examples.
        batch_size: examples in the global batch.
        seed: seed of the permutations.
        rows: which examples of the global batch this host takes; all unless given.
        workers: processes that read and decode; examples in memory, cached ones among them, need none and get none.
        prefetch: batches to read ahead (of each worker, where there are any).

    Returns:
        Iterator of dicts of arrays [rows, ...].

    Raises:
        ValueError: if `batch_size` is not positive or more than there are examples, `rows` lie outside of it, or
            `workers` or `prefetch` is out of range.
    """
    if not 1 <= batch_size <= len(source):
        raise ValueError(f"batch_size must lie between 1 and the number of examples {len(source)}, got {batch_size}")
    rows = np.arange(batch_size) if rows is None else rows
    if not np.isin(rows, np.arange(batch_size)).all():
        raise ValueError(f"rows must lie in [0, {batch_size}), the global batch, got {rows.min()} to {rows.max()}")
    if workers < 0 or prefetch < 1:
        raise ValueError(f"workers must be at least 0 and prefetch at least 1, got {workers} and {prefetch}")
    indices = grain.MapDataset.range(len(source)).seed(seed).shuffle().repeat().batch(batch_size)
    batches = indices.map(lambda batch: gather(source, np.asarray(batch)[rows]))
    return Batches(batches, 0 if isinstance(source, ArraySource | Cached) else workers, prefetch)
