"""The rules of NCSNv2 against what its configs hold, and against simulation."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from sgm_jax import suggest

# Published: image size, largest level, number of levels, Langevin steps, step size (smallest level 0.01).
PUBLISHED = {
    "cifar10": (32, 50, 232, 5, 6.2e-6),
    "celeba": (64, 90, 500, 5, 3.3e-6),
    "bedroom": (128, 190, 1086, 3, 1.8e-6),
    "ffhq": (256, 348, 2311, 3, 9e-7),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_numbers_follow_from_the_rules(name):
    size, sigma_max, levels, steps, epsilon = PUBLISHED[name]
    sigma_max = float(sigma_max)
    # The published levels overlap by 0.57, a little more than the rule's one half.
    assert 0.93 * levels < suggest.level_count(sigma_max, 0.01, 3 * size**2) < levels
    ratio = (sigma_max / 0.01) ** (1 / (levels - 1))
    np.testing.assert_allclose(suggest.step_size(ratio, steps) * 0.01**2, epsilon, rtol=0.02)


@pytest.mark.parametrize(("ratio", "steps"), [(1.04, 5), (1.5, 20), (1.02, 2)])
def test_step_size_best_keeps_the_variance_of_langevin_chains(ratio, steps):
    def deviation(step):
        variance = ratio**2
        for _ in range(steps):
            variance = (1 - step) ** 2 * variance + 2 * step
        return abs(variance - 1)

    step = suggest.step_size(ratio, steps)
    assert all(deviation(step) < deviation(step * factor) for factor in (0.5, 0.98, 1.02, 2.0))


@pytest.mark.parametrize("dimension", [20, 100, 3072])
def test_neighbouring_levels_overlap_by_one_half(dimension):
    # The radius of noise of level r is about N(r sqrt(d), r**2 / 2): half of the smaller level's radii lie within three
    # deviations of the larger level's.
    ratio, generator = suggest.level_ratio(dimension), np.random.default_rng(0)
    radius = np.sqrt(dimension) + generator.normal(size=200_000) / np.sqrt(2)
    share = np.mean(np.abs(radius / ratio - np.sqrt(dimension)) < 3 / np.sqrt(2))
    np.testing.assert_allclose(share, 0.5, atol=0.01)


def test_ratio_is_at_most_two_where_the_rule_sets_no_limit():
    assert suggest.level_ratio(2) == 2.0 and suggest.level_ratio(5) == 2.0


def test_largest_distance_is_that_of_all_pairs():
    data = np.random.default_rng(0).normal(size=(300, 7)).astype(np.float32) + 5
    np.testing.assert_allclose(suggest.largest_distance(data, block=64), pdist(data).max(), rtol=1e-5)


def test_suggestion_for_data_of_known_extent():
    data = np.random.default_rng(0).uniform(size=(200, 4, 4, 1)).astype(np.float32)
    found = suggest.suggest(data)
    np.testing.assert_allclose(found.sigma_max, pdist(data.reshape(200, -1)).max(), rtol=1e-5)
    np.testing.assert_allclose(found.ratio ** (found.levels - 1), found.sigma_max / found.sigma_min, rtol=1e-6)
    np.testing.assert_allclose(2 * (found.snr * found.sigma_min) ** 2, found.step_size, rtol=1e-9)
    np.testing.assert_allclose(found.sigma_data, data.std(), rtol=1e-5)


def test_bad_arguments_are_refused():
    data = np.zeros((3, 2), np.float32)
    with pytest.raises(ValueError, match="at least 2 examples, got 1"):
        suggest.suggest(data[:1])
    with pytest.raises(ValueError, match="below the largest distance in the data, 0, got 0.01"):
        suggest.suggest(data)
    with pytest.raises(ValueError, match="sigma_min must be > 0, got -1"):
        suggest.suggest(data, sigma_min=-1.0)
    with pytest.raises(ValueError, match="langevin_steps must be at least 1, got 0"):
        suggest.suggest(data, langevin_steps=0)
