"""The Fréchet distance between two sets of features: estimate, spread and what it tends to."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from sgm_jax.evaluation.moments import Moments
from sgm_jax.evaluation.statistics import Statistics

Numbers = Sequence[int | float] | Shaped[np.ndarray, " k"]


def frechet_distance(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m e"]) -> float:
    """Return the squared Fréchet distance between Gaussians fitted to two sets of features, in float64.

    Its expectation depends on `n` and `m`: compare only distances of equal counts.

    Args:
        a: features [n, d].
        b: features [m, d], of the same length.

    Raises:
        ValueError: if either set has fewer than two rows or the lengths of the features differ.
    """
    for name, features in (("a", a), ("b", b)):
        if len(features) < 2:
            raise ValueError(f"{name} must have at least 2 rows, got {len(features)}")
    return gaussian_distance(*(Statistics.of(Moments.of(features)) for features in (a, b)))


def gaussian_distance(a: Statistics, b: Statistics) -> float:
    """Return the squared Fréchet distance between two Gaussians.

    `|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))`. The trace of the root is the sum of the roots of the
    eigenvalues of the symmetric `C_b^(1/2) C_a C_b^(1/2)`, which stays real for singular covariances.

    Args:
        a: of the samples.
        b: of the data, whose root is taken once however often it is compared with.

    Raises:
        ValueError: if the lengths of the features differ.

    References:
        Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium",
        2017, equation 6; Dowson, Landau, "The Fréchet Distance between Multivariate Normal Distributions", 1982.
    """
    _check_lengths(a, b)
    spectrum = np.maximum(np.linalg.eigvalsh(b.root @ a.covariance @ b.root), 0.0)
    traces = np.trace(a.covariance) + np.trace(b.covariance)
    return float(max(np.sum((a.mean - b.mean) ** 2) + traces - 2 * np.sqrt(spectrum).sum(), 0.0))


def standard_error(a: Statistics, b: Statistics) -> float:
    """Return the standard deviation of the squared distance from `a`, over draws of its examples, with `b` fixed.

    To first order in the examples the distance moves by the mean of `2 (m_a - m_b) . y + y^T (I - T) y`, `y` being an
    example less its mean and `T` the optimal map of the Gaussian `a` to `b`; for Gaussian features the variance is
    `(4 |C_a^(1/2) (m_a - m_b)|^2 + 2 tr((I - T) C_a (I - T) C_a)) / n`. The bias is none of it: it is of the order of
    the number of features over `n`, see `extrapolate`.

    Raises:
        ValueError: if the count of `a` is unknown, or the lengths of the features differ.
    """
    _check_lengths(a, b)
    if a.count is None:
        raise ValueError("the count of a must be known, got None")
    # T = C_b^(1/2) M^(-1) C_b^(1/2) with M = (C_b^(1/2) C_a C_b^(1/2))^(1/2), of which the null space adds nothing.
    mixed = b.root @ a.covariance
    values, vectors = np.linalg.eigh(mixed @ b.root)
    kept = values > 1e-12 * values.max(initial=0.0)
    transported = np.sum(np.square(vectors[:, kept].T @ mixed) / np.sqrt(values[kept])[:, None])
    trace = np.sum(a.covariance**2) - 2 * transported + np.sum(a.covariance * b.covariance)
    shift = a.mean - b.mean
    return float(np.sqrt((4 * shift @ a.covariance @ shift + 2 * max(trace, 0.0)) / a.count))


class Extrapolation(NamedTuple):
    """A distance at infinitely many examples.

    Attributes:
        value: the distance.
        slope: what `1 / n` is multiplied by.
    """

    value: float
    slope: float


def extrapolate(counts: Numbers, distances: Numbers) -> Extrapolation:
    """Fit `distance = value + slope / n`, by least squares.

    The bias of a Fréchet distance is of order `1 / n` where `n` exceeds the number of features.

    Raises:
        ValueError: if there are fewer than two different counts.

    References:
        Chong and Forsyth, "Effectively Unbiased FID and Inception Score and Where to Find Them", 2020.
    """
    if len(set(counts)) < 2:
        raise ValueError(f"counts must have at least 2 different entries, got {list(counts)}")
    slope, value = np.polyfit(1 / np.asarray(counts, np.float64), np.asarray(distances, np.float64), 1)
    return Extrapolation(float(value), float(slope))


def _check_lengths(a: Statistics, b: Statistics) -> None:
    if len(a.mean) != len(b.mean):
        raise ValueError(f"a and b must have features of one length, got {len(a.mean)} and {len(b.mean)}")
