"""Batches: shuffled, split over hosts, resumable, the same however they are read."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from sgm_jax import data

SOURCE = data.ArraySource(np.arange(50), np.arange(50, dtype=np.int32) * 2)


def take(iterator, count):
    return [next(iterator) for _ in range(count)]


def test_every_epoch_is_another_permutation():
    batches = take(data.training_batches(SOURCE, 10, seed=0), 10)
    first, second = (np.concatenate([b["x"] for b in part]) for part in (batches[:5], batches[5:]))
    assert sorted(first) == sorted(second) == list(range(50))
    assert np.any(first != second) and np.any(first != np.arange(50))
    for batch in batches:
        np.testing.assert_array_equal(batch["label"], 2 * batch["x"])


def test_batches_are_a_function_of_the_seed():
    draw = lambda seed: np.concatenate([b["x"] for b in take(data.training_batches(SOURCE, 8, seed=seed), 9)])
    np.testing.assert_array_equal(draw(3), draw(3))
    assert np.any(draw(3) != draw(4))


@pytest.mark.parametrize("hosts", [2, 4])
def test_hosts_share_the_same_global_batches(hosts):
    whole = take(data.training_batches(SOURCE, 8, seed=1), 15)
    parts = [take(data.training_batches(SOURCE, 8, seed=1, rows=own), 15) for own in np.split(np.arange(8), hosts)]
    for number, batch in enumerate(whole):
        np.testing.assert_array_equal(batch["x"], np.concatenate([part[number]["x"] for part in parts]))


def test_position_is_restored_exactly_and_fits_into_json():
    iterator = data.training_batches(SOURCE, 8, seed=0)
    take(iterator, 13)
    position = json.loads(json.dumps(iterator.get_state()))
    expected = take(iterator, 3)
    fresh = data.training_batches(SOURCE, 8, seed=0)
    fresh.set_state(position)
    for batch, wanted in zip(take(fresh, 3), expected, strict=True):
        jax.tree.map(np.testing.assert_array_equal, batch, wanted)


@pytest.mark.parametrize("size", [0, -1, 51])
def test_bad_batch_sizes_are_refused(size):
    with pytest.raises(ValueError, match=f"got {size}"):
        data.training_batches(SOURCE, size, seed=0)
    with pytest.raises(ValueError, match="rows must lie in"):
        data.training_batches(SOURCE, 8, seed=0, rows=np.arange(4, 9))


def test_two_hosts_go_through_two_epochs_without_repeat_or_gap():
    hosts = [take(data.training_batches(SOURCE, 10, seed=4, rows=own), 10) for own in np.split(np.arange(10), 2)]
    for epoch in (slice(0, 5), slice(5, 10)):
        seen = np.concatenate([batch["x"] for host in hosts for batch in host[epoch]])
        assert sorted(seen) == list(range(50))


class Squares:
    """A source that counts what it reads."""

    def __init__(self):
        self.reads = []

    def __len__(self):
        return 12

    def __getitem__(self, index):
        self.reads.append(index)
        return {"x": np.full((2, 2, 1), index**2, np.uint8), "label": np.int32(index)}


def test_cached_examples_are_read_once_and_are_what_the_source_holds():
    source = Squares()
    dataset = data.cached(data.Dataset(source, source, (2, 2, 1), 256, 12, "squares"), 48)
    assert isinstance(dataset.train, data.Cached) and dataset.train is dataset.test
    source.reads.clear()
    batches = take(data.training_batches(dataset.train, 4, seed=0), 9)
    assert sorted(source.reads) == list(range(12))
    for batch in batches:
        np.testing.assert_array_equal(batch["x"][:, 0, 0, 0], batch["label"] ** 2)
    example = dataset.train[5]
    assert example["x"].shape == (2, 2, 1) and example["label"] == 5


def test_what_does_not_fit_is_not_cached():
    source = Squares()
    dataset = data.Dataset(source, source, (2, 2, 1), 256, 12, "squares")
    assert data.cached(dataset, 47) is dataset
    with pytest.raises(ValueError, match="got -1"):
        data.cached(dataset, -1)


@pytest.mark.slow
def test_workers_read_the_same_batches_and_go_on_at_any_position(tmp_path):
    for number in range(20):
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(tmp_path / f"{number}.png")
    source = data.load("folder", path=str(tmp_path)).train
    alone = data.training_batches(source, 6, seed=0)
    expected = take(alone, 8)
    workers = data.training_batches(source, 6, seed=0, workers=2)
    for batch, wanted in zip(take(workers, 5), expected[:5], strict=True):
        np.testing.assert_array_equal(batch["x"], wanted["x"])
    position = json.loads(json.dumps(workers.get_state()))
    # The position is of use to any number of workers.
    alone.set_state(position)
    np.testing.assert_array_equal(next(alone)["x"], expected[5]["x"])
    workers.set_state(position)
    np.testing.assert_array_equal(next(workers)["x"], expected[5]["x"])


def test_numbers_of_workers_are_checked():
    with pytest.raises(ValueError, match="workers must be at least 0.*got -1"):
        data.training_batches(SOURCE, 5, seed=0, workers=-1)
