"""Datasets -> batches, through Grain: shuffled, endless, split over hosts, and resumable to the batch."""

from collections.abc import Iterator
from typing import Any

import grain
import numpy as np
from absl import flags

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
    source: Source, batch_size: int, *, seed: int, shard: tuple[int, int] = (0, 1), workers: int = 0, prefetch: int = 4
) -> Batches:
    """Iterate over shuffled batches for ever.

    Every epoch is a new permutation, a function of `seed` and its number. The global batch does not depend on the
    number of hosts: each takes its own slice of it. The iterator's `get_state()` is a small dict of its position, and
    `set_state(...)` goes there at once, without working through what came before, with whatever number of workers.

    Args:
        source: the examples.
        batch_size: examples in the global batch.
        seed: seed of the permutations.
        shard: this host's number and the number of hosts.
        workers: processes that read and decode; examples in memory, cached ones among them, need none and get none.
        prefetch: batches to read ahead (of each worker, where there are any).

    Returns:
        Iterator of dicts of arrays [batch_size / hosts, ...].

    Raises:
        ValueError: if `batch_size` is not positive, more than there are examples, or no multiple of the hosts, or
            `workers` or `prefetch` is out of range.
    """
    host, hosts = shard
    if not 1 <= batch_size <= len(source):
        raise ValueError(f"batch_size must lie between 1 and the number of examples {len(source)}, got {batch_size}")
    if batch_size % hosts or not 0 <= host < hosts:
        raise ValueError(f"batch_size must be a multiple of the hosts, got {batch_size} and shard={shard}")
    if workers < 0 or prefetch < 1:
        raise ValueError(f"workers must be at least 0 and prefetch at least 1, got {workers} and {prefetch}")
    size = batch_size // hosts
    own = slice(host * size, (host + 1) * size)
    indices = grain.MapDataset.range(len(source)).seed(seed).shuffle().repeat().batch(batch_size)
    batches = indices.map(lambda batch: gather(source, np.asarray(batch)[own]))
    return Batches(batches, 0 if isinstance(source, ArraySource | Cached) else workers, prefetch)
