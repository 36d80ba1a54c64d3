"""Sizes against the published ones, and against each other."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from configs.images import get_config
from sgm_jax import modes, sizing

LARGE, SMALL = sizing.Machine("gpu", 64 * 2**30), sizing.Machine("gpu", 2**30)
HOST = sizing.Machine("cpu", 8 * 2**30)


def images(size, count=20, channels=3):
    return np.random.default_rng(size).uniform(-1, 1, (count, size, size, channels)).astype(np.float32)


def test_noise_levels_are_those_of_the_data():
    data = images(8)
    sizes = sizing.choose_sizes(data, 20, LARGE)
    assert sizes["sde.t_max"] == sizes["sampling.s_max"] == pytest.approx(pdist(data.reshape(20, -1)).max(), abs=0.01)
    assert sizes["prediction.sigma_data"] == sizes["weighting.sigma_data"] == pytest.approx(data.std(), abs=1e-3)


def test_accelerators_get_the_papers_network_for_images_of_32_and_64():
    for size in (32, 64):
        sizes = sizing.choose_sizes(images(size), 50_000, LARGE)
        assert (sizes["network.channels"], sizes["network.multipliers"]) == (128, (1, 2, 2, 2))
        assert (sizes["network.attention"], sizes["network.patch"], sizes["times.mean"]) == ((16,), 1, -1.2)


@pytest.mark.parametrize(("size", "patch", "levels"), [(4, 1, 1), (8, 1, 2), (28, 2, 2), (32, 2, 3), (256, 16, 3)])
def test_processors_get_small_feature_maps(size, patch, levels):
    sizes = sizing.choose_sizes(images(size, 3, 1), 1000, HOST)
    assert sizes["network.patch"] == patch and len(sizes["network.multipliers"]) == levels
    assert size / patch / 2 ** (levels - 1) >= 3


def test_batches_shrink_with_memory_and_data():
    data = images(32)
    batch = lambda machine, count: sizing.choose_sizes(data, count, machine)["train.batch_size"]
    assert batch(LARGE, 50_000) == 256 and 1 <= batch(SMALL, 50_000) < 64
    assert batch(LARGE, 100) == 64 and batch(sizing.Machine("gpu", 1), 100) == 1


def test_points_have_no_sizes():
    with pytest.raises(ValueError, match=r"needs images \[h, w, c\], got data of shape \(2,\)"):
        sizing.choose_sizes(np.zeros((5, 2), np.float32), 5, LARGE)


def test_a_runs_sizes_are_chosen_once_and_given_ones_stay(tmp_path):
    config = get_config("smoke")
    config.train.batch_size = 7
    first = modes.sized(config.lock(), tmp_path)
    assert first.train.batch_size == 7 and first.network.channels == 8 and first.network.patch == 1
    (tmp_path / "sizing.json").write_text('{"sde.t_max": 5.0, "train.batch_size": 64}')
    again = modes.sized(config, tmp_path)
    assert again.sde.t_max == 5.0 and again.train.batch_size == 7
    config.sizing = "none"
    assert modes.sized(config, tmp_path) is config
