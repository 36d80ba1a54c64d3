"""Datasets -> batches, through Grain: shuffled, endless, split over hosts, and resumable to the batch."""

import grain
import numpy as np
from jaxtyping import Int

from sgm_jax.data.dataset import Source, gather


def training_batches(
    source: Source, batch_size: int, *, seed: int, rows: Int[np.ndarray, " rows"] | None = None
) -> grain.DatasetIterator:
    """Iterate over shuffled batches for ever.

    Every epoch is a new permutation, a function of `seed` and its number. The global batch does not depend on the
    number of hosts: each takes its own rows of it. The iterator's `get_state()` is a small dict of its position, and
    `set_state(...)` goes there at once, without working through what came before.

    Args:
        source: the examples.
        batch_size: examples in the global batch.
        seed: seed of the permutations.
        rows: which examples of the global batch this host takes; all unless given.

    Returns:
        Iterator of dicts of arrays [rows, ...].

    Raises:
        ValueError: if `batch_size` is not positive or more than there are examples, or `rows` lie outside of it.
    """
    if not 1 <= batch_size <= len(source):
        raise ValueError(f"batch_size must lie between 1 and the number of examples {len(source)}, got {batch_size}")
    rows = np.arange(batch_size) if rows is None else rows
    if not np.isin(rows, np.arange(batch_size)).all():
        raise ValueError(f"rows must lie in [0, {batch_size}), the global batch, got {rows.min()} to {rows.max()}")
    indices = grain.MapDataset.range(len(source)).seed(seed).shuffle().repeat().batch(batch_size)
    batches = indices.map(lambda batch: gather(source, np.asarray(batch)[rows]))
    return iter(batches.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)))
