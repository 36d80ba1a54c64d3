"""Metrics against torch-fidelity's recorded figures, closed forms and plain sums."""

import pathlib

import numpy as np
import pytest
import scipy.stats
from inception_weights import features

from sgm_jax import evaluation
from sgm_jax.evaluation.kernels import gaussian, polynomial

RECORD = np.load(pathlib.Path(__file__).parents[1] / "data" / "inception.npz")
SAMPLES, DATA, LOGITS = features()


def test_figures_are_those_of_torch_fidelity():
    assert evaluation.frechet_distance(SAMPLES, DATA) == pytest.approx(float(RECORD["fid"]), rel=1e-6)
    distance = evaluation.kid(SAMPLES[:50], DATA, size=50, subsets=2)
    # Subsets of everything are all alike.
    assert distance.mean == pytest.approx(float(RECORD["kid"]), rel=1e-5) and distance.std < 1e-12
    score = evaluation.inception_score(LOGITS, splits=7)
    np.testing.assert_allclose(score[:2], RECORD["inception_score"], rtol=1e-6)
    np.testing.assert_allclose(evaluation.precision_recall(SAMPLES, DATA), RECORD["precision_recall"], rtol=1e-6)


def test_discrepancies_are_plain_sums():
    plain = 0.0
    for x, y, sign in ((SAMPLES, SAMPLES, 1), (DATA, DATA, 1), (SAMPLES, DATA, -2)):
        kernel = np.array([[(a @ b / 8 + 1) ** 3 for b in y] for a in x], np.float64)
        pairs = kernel.size if sign < 0 else len(x) * (len(x) - 1)
        plain += sign * (kernel.sum() - (np.trace(kernel) if sign > 0 else 0)) / pairs
    assert evaluation.mmd2(SAMPLES, DATA, polynomial) == pytest.approx(plain, rel=1e-5)


def test_gaussian_discrepancy_has_its_closed_form():
    # E k(x, y) for x - y ~ N(m, 2 I) and width 1 in d dimensions is 3^(-d/2) exp(-m^2 / 6).
    generator = np.random.default_rng(0)
    a, b = generator.standard_normal((2, 3000, 2))
    b[:, 0] += 1.0
    expected = 2 / 3 - 2 / 3 * np.exp(-1 / 6)
    assert evaluation.mmd2(a, b, gaussian(1.0)) == pytest.approx(expected, abs=0.01)


def test_cmmd_does_not_depend_on_lengths():
    lengths = np.linspace(1, 5, len(SAMPLES))[:, None]
    assert evaluation.cmmd(lengths * SAMPLES, DATA) == pytest.approx(evaluation.cmmd(SAMPLES, DATA), rel=1e-6)
    # Orthogonal unit vectors against one of them: sums that can be done by hand.
    square = np.exp(-2 / 200)
    expected = 1000 * ((1 + square) / 2 + 1 - 2 * (1 + square) / 2)
    assert evaluation.cmmd(np.eye(2), np.array([[3.0, 0.0]])) == pytest.approx(expected)


def test_density_and_coverage_count_neighbourhoods():
    data = np.array([[0.0], [1.0], [2.0], [10.0]])
    samples = np.array([[0.5], [1.5], [50.0]])
    # With one neighbour the balls are [-1, 1], [0, 2], [1, 3] and [2, 18]; none holds the last sample.
    density, coverage = evaluation.density_coverage(samples, data, neighbours=1)
    assert density == pytest.approx((2 + 2 + 0) / 3) and coverage == pytest.approx(3 / 4)
    precision, recall = evaluation.precision_recall(samples, data, neighbours=1)
    assert precision == pytest.approx(2 / 3) and recall == pytest.approx(3 / 4 + 1 / 4)


def test_distances_between_clouds_have_their_closed_forms():
    a = np.random.default_rng(1).standard_normal((200, 3))
    # A shift is its own optimal transport; projected on random directions its square is |m|^2 / d on average.
    assert evaluation.wasserstein(a, a + [3.0, 0, 4.0]) == pytest.approx(5.0)
    sliced = evaluation.sliced_wasserstein(a, a + [3.0, 0, 4.0], slices=4000)
    assert sliced == pytest.approx(5 / np.sqrt(3), rel=0.03)
    line, other = a[:, :1], 2 * a[::-1, :1] + 1
    assert evaluation.wasserstein(line, other, order=1) == pytest.approx(
        scipy.stats.wasserstein_distance(line[:, 0], other[:, 0])
    )
    assert evaluation.sliced_wasserstein(line, other, order=1) == pytest.approx(
        evaluation.wasserstein(line, other, order=1)
    )


@pytest.mark.slow
def test_classifier_tells_clouds_apart_as_well_as_can_be():
    generator = np.random.default_rng(2)
    a, b = generator.standard_normal((2, 1000, 2))
    assert evaluation.c2st(a, b) == pytest.approx(0.5, abs=0.06)
    # No classifier does better than the side of the middle: Phi(|m| / 2).
    assert evaluation.c2st(a, b + [2.0, 0.0]) == pytest.approx(scipy.stats.norm.cdf(1), abs=0.04)


def test_one_class_each_scores_the_number_of_classes():
    logits = 100 * np.eye(4)[np.arange(80) % 4]
    assert evaluation.inception_score(logits, splits=2).mean == pytest.approx(4.0)
    assert evaluation.inception_score(np.zeros((80, 4)), splits=2).mean == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: evaluation.kid(SAMPLES, DATA), "size must be at most 50.*got 1000"),
        (lambda: evaluation.precision_recall(SAMPLES, DATA[:3]), "neighbours must be less than .* 3, got 3"),
        (lambda: evaluation.wasserstein(SAMPLES, DATA), "got 60 and 50"),
        (lambda: evaluation.inception_score(LOGITS[:4]), "splits must be at most .* 4, got 10"),
        (lambda: evaluation.extrapolate([5, 5], [1.0, 1.0]), "2 different"),
    ],
)
def test_what_cannot_be_measured_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
