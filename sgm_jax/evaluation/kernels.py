"""Maximum mean discrepancies: KID, CMMD, and that of points in few dimensions."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Features = Float[np.ndarray, "n d"]
Kernel = Callable[[Features, Float[np.ndarray, "m d"]], Float[np.ndarray, "n m"]]
BLOCK = 1000  # rows of a kernel matrix at a time


def polynomial(x: Features, y: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    """Return KID's kernel, `(x . y / d + 1)^3`."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def gaussian(width: float) -> Kernel:
    """Return the kernel `exp(-|x - y|^2 / (2 width^2))`."""

    def kernel(x: Features, y: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
        return np.exp(-squared_distances(x, y) / (2 * width**2))

    return kernel


def squared_distances(x: Features, y: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    """Return `|x_i - y_j|^2`, in float64 whatever the features are in."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return np.maximum(np.sum(x**2, 1)[:, None] + np.sum(y**2, 1) - 2 * x @ y.T, 0.0)


def mmd2(a: Features, b: Float[np.ndarray, "m d"], kernel: Kernel) -> float:
    """Return the unbiased estimate of the squared maximum mean discrepancy; it may be negative.

    References:
        Gretton et al., "A Kernel Two-Sample Test", 2012, equation 3.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    within = sum(_total_of_pairs(x, kernel) / (len(x) * (len(x) - 1)) for x in (a, b))
    return float(within - 2 * _total(a, b, kernel) / (len(a) * len(b)))


def median_mmd2(a: Features, b: Float[np.ndarray, "m d"]) -> float:
    """Return `mmd2` with a Gaussian kernel as wide as the median distance between any two points of `b`."""
    distances = squared_distances(b[:BLOCK], b[:BLOCK])
    return mmd2(a, b, gaussian(float(np.sqrt(np.median(distances[np.triu_indices(len(distances), 1)])))))


def cmmd(a: Features, b: Float[np.ndarray, "m d"]) -> float:
    """Return the CMMD of CLIP embeddings: 1000 times the squared discrepancy, diagonals included, of unit vectors.

    Args:
        a: embeddings of the samples [n, d], of any length.
        b: of the data [m, d].

    References:
        Jayasumana et al., "Rethinking FID: Towards a Better Evaluation Metric for Image Generation", 2024.
    """
    a, b = (
        x / np.linalg.norm(x, axis=1, keepdims=True) for x in (np.asarray(a, np.float64), np.asarray(b, np.float64))
    )
    kernel = gaussian(10.0)
    means = [_total(x, y, kernel) / (len(x) * len(y)) for x, y in ((a, a), (b, b), (a, b))]
    return float(1000 * (means[0] + means[1] - 2 * means[2]))


class KID(NamedTuple):
    """The kernel Inception distance.

    Attributes:
        mean: over subsets.
        std: over subsets.
        standard_error: of the mean, as if subsets were independent.
    """

    mean: float
    std: float
    standard_error: float


def kid(a: Features, b: Float[np.ndarray, "m d"], *, subsets: int = 100, size: int = 1000, seed: int = 0) -> KID:
    """Return the kernel Inception distance, averaged over random subsets of both sets.

    Args:
        a: features of the samples [n, d].
        b: features of the data [m, d].
        subsets: how many are drawn.
        size: of each, drawn without replacement.
        seed: determines the subsets.

    Raises:
        ValueError: if either set is smaller than `size`.

    References:
        Bińkowski et al., "Demystifying MMD GANs", 2018.
    """
    if min(len(a), len(b)) < size:
        raise ValueError(f"size must be at most {min(len(a), len(b))}, the number of features, got {size}")
    generator = np.random.default_rng(seed)
    draw = lambda x: x[np.sort(generator.choice(len(x), size, replace=False))]  # noqa: E731
    values = np.array([mmd2(draw(a), draw(b), polynomial) for _ in range(subsets)])
    return KID(float(values.mean()), float(values.std()), float(values.std() / np.sqrt(subsets)))


def _total(x, y, kernel) -> float:
    return sum(kernel(x[start : start + BLOCK], y).sum() for start in range(0, len(x), BLOCK))


def _total_of_pairs(x, kernel) -> float:
    blocks = ((start, kernel(x[start : start + BLOCK], x)) for start in range(0, len(x), BLOCK))
    return sum(block.sum() - np.trace(block, start) for start, block in blocks)
