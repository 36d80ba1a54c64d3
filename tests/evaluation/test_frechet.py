"""The Fréchet distance against its closed form and against scipy's matrix root."""

import numpy as np
import pytest
import scipy.linalg

from sgm_jax.evaluation import frechet_distance


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
