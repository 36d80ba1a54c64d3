"""Datasets -> batches, through Grain: shuffled, endless, split over hosts, and resumable to the batch."""

import grain
import numpy as np

from sgm_jax.data.dataset import Source, gather


def training_batches(
    source: Source, batch_size: int, *, seed: int, shard: tuple[int, int] = (0, 1)
) -> grain.DatasetIterator:
    """Iterate over shuffled batches for ever.

    Every epoch is a new permutation, a function of `seed` and its number. The global batch does not depend on the
    number of hosts: each takes its own slice of it. The iterator's `get_state()` is a small dict of its position, and
    `set_state(...)` goes there at once, without working through what came before.

    Args:
        source: the examples.
        batch_size: examples in the global batch.
        seed: seed of the permutations.
        shard: this host's number and the number of hosts.

    Returns:
        Iterator of dicts of arrays [batch_size / hosts, ...].

    Raises:
        ValueError: if `batch_size` is not positive, more than there are examples, or no multiple of the hosts.
    """
    host, hosts = shard
    if not 1 <= batch_size <= len(source):
        raise ValueError(f"batch_size must lie between 1 and the number of examples {len(source)}, got {batch_size}")
    if batch_size % hosts or not 0 <= host < hosts:
        raise ValueError(f"batch_size must be a multiple of the hosts, got {batch_size} and shard={shard}")
    size = batch_size // hosts
    own = slice(host * size, (host + 1) * size)
    indices = grain.MapDataset.range(len(source)).seed(seed).shuffle().repeat().batch(batch_size)
    batches = indices.map(lambda batch: gather(source, np.asarray(batch)[own]))
    return iter(batches.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)))
