"""The Fréchet distance against its closed form and against scipy's matrix root."""

import numpy as np
import pytest
import scipy.linalg

from sgm_jax.evaluation import (
    Moments,
    Statistics,
    extrapolate,
    frechet_distance,
    gaussian_distance,
    standard_error,
)


def exact_gaussian(generator, n, mean, root):
    """Draw points whose sample mean and covariance are exactly `mean` and `root @ root.T`."""
    z = generator.standard_normal((n, len(mean)))
    z -= z.mean(0)
    white = z @ np.linalg.inv(np.linalg.cholesky(np.cov(z, rowvar=False))).T
    return mean + white @ root.T


def test_closed_form_of_commuting_covariances():
    generator = np.random.default_rng(0)
    mean_a, mean_b = np.array([1.0, -2.0, 0.5]), np.array([0.0, 1.0, 0.5])
    scale_a, scale_b = np.array([1.0, 2.0, 3.0]), np.array([0.5, 2.5, 0.1])
    a = exact_gaussian(generator, 50, mean_a, np.diag(scale_a))
    b = exact_gaussian(generator, 80, mean_b, np.diag(scale_b))
    expected = np.sum((mean_a - mean_b) ** 2) + np.sum((scale_a - scale_b) ** 2)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_agrees_with_scipy_on_any_covariances():
    generator = np.random.default_rng(1)
    a = generator.standard_normal((60, 5)) @ generator.standard_normal((5, 5))
    b = 1.0 + generator.standard_normal((70, 5)) @ generator.standard_normal((5, 5))
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(cov_a + cov_b - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-8)


def test_zero_for_the_same_features_even_where_covariances_are_singular():
    a = np.random.default_rng(2).standard_normal((5, 12)).astype(np.float32)
    a[:, 3] = 0.0
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-6)


def test_moving_one_set_adds_the_squared_distance():
    a = np.random.default_rng(3).standard_normal((40, 4))
    assert frechet_distance(a, a + 2.0) == pytest.approx(16.0)


@pytest.mark.parametrize("shapes, words", [(((1, 2), (5, 2)), "a must have"), (((5, 2), (5, 3)), "2 and 3")])
def test_wrong_shapes_are_named(shapes, words):
    with pytest.raises(ValueError, match=words):
        frechet_distance(*(np.zeros(shape) for shape in shapes))


def gaussian(generator, dimension, count=None):
    root = generator.standard_normal((dimension, dimension))
    return Statistics(generator.standard_normal(dimension), root @ root.T, count)


def test_spread_is_that_of_repeated_draws():
    generator = np.random.default_rng(4)
    a, b = gaussian(generator, 3, 2000), gaussian(generator, 3)
    root = np.linalg.cholesky(a.covariance)
    draws = [a.mean + generator.standard_normal((a.count, 3)) @ root.T for _ in range(300)]
    distances = [gaussian_distance(Statistics.of(Moments.of(x)), b) for x in draws]
    # The deviation of 300 draws is known to 4 %.
    assert standard_error(a, b) == pytest.approx(np.std(distances), rel=0.12)


def test_extrapolation_removes_the_bias():
    generator = np.random.default_rng(5)
    true, counts = gaussian(generator, 10), [200, 300, 400, 800]
    root = np.linalg.cholesky(true.covariance)
    found = []
    for _ in range(60):
        x = true.mean + generator.standard_normal((counts[-1], 10)) @ root.T
        found.append([gaussian_distance(Statistics.of(Moments.of(x[:n])), true) for n in counts])
    found = np.mean(found, 0)
    # The distance of a distribution from itself is zero.
    assert abs(extrapolate(counts, found).value) < found[-1] / 5
