"""Fidelity apart from diversity: which samples lie among the data, and which data among the samples."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from sgm_jax.evaluation.kernels import squared_distances

Features = Float[np.ndarray, "n d"]
BLOCK = 1000  # rows of the distances at a time


class PrecisionRecall(NamedTuple):
    """Shares in [0, 1].

    Attributes:
        precision: of samples inside the manifold of the data.
        recall: of data inside the manifold of the samples.
    """

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """How samples and the neighbourhoods of data meet.

    Attributes:
        density: neighbourhoods of data that a sample lies in, over the neighbours each has; may exceed 1.
        coverage: share of data with a sample in their neighbourhood.
    """

    density: float
    coverage: float


def precision_recall(samples: Features, data: Float[np.ndarray, "m d"], neighbours: int = 3) -> PrecisionRecall:
    """Return precision and recall of manifolds made of balls that reach to each example's k-th neighbour.

    Raises:
        ValueError: if either set has no more than `neighbours` examples.

    References:
        Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models", 2019.
    """
    among_data = np.concatenate([inside.any(1) for inside in _inside(samples, data, neighbours)])
    among_samples = np.concatenate([inside.any(1) for inside in _inside(data, samples, neighbours)])
    return PrecisionRecall(float(among_data.mean()), float(among_samples.mean()))


def density_coverage(samples: Features, data: Float[np.ndarray, "m d"], neighbours: int = 5) -> DensityCoverage:
    """Return density and coverage, which outliers among samples or data do not inflate.

    Raises:
        ValueError: if there are no more than `neighbours` data.

    References:
        Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models", 2020.
    """
    total, covered = 0, np.zeros(len(data), bool)
    for inside in _inside(samples, data, neighbours):
        total += int(inside.sum())
        covered |= inside.any(0)
    return DensityCoverage(total / (neighbours * len(samples)), float(covered.mean()))


def _inside(points: Features, centres: Float[np.ndarray, "m d"], neighbours: int) -> Iterator[Bool[np.ndarray, "b m"]]:
    """Yield, a block of points at a time, whose balls they are in."""
    if len(centres) <= neighbours:
        raise ValueError(f"neighbours must be less than the number of features {len(centres)}, got {neighbours}")
    # An example is its own nearest: the k-th neighbour is at index k.
    radii = np.concatenate(
        [np.partition(distances, neighbours, 1)[:, neighbours] for distances in _distances(centres, centres)]
    )
    for distances in _distances(points, centres):
        yield distances <= radii


def _distances(x: Features, y: Float[np.ndarray, "m d"]) -> Iterator[Float[np.ndarray, "b m"]]:
    for start in range(0, len(x), BLOCK):
        yield squared_distances(x[start : start + BLOCK], y)
