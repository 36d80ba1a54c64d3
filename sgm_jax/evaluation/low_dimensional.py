"""Distances between point clouds in few dimensions, where no feature network is needed."""

import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import linear_sum_assignment

from sgm_jax.evaluation.kernels import squared_distances

Points = Float[np.ndarray, "n d"]


def wasserstein(a: Points, b: Float[np.ndarray, "m d"], order: int = 2) -> float:
    """Return the Wasserstein distance of two clouds of equal size, by the best assignment of points to points.

    Time grows as the cube of the size: about a second for 1000 points.

    Raises:
        ValueError: if sizes differ.
    """
    _check_sizes(a, b)
    costs = squared_distances(a, b) ** (order / 2)
    return float(costs[linear_sum_assignment(costs)].mean() ** (1 / order))


def sliced_wasserstein(
    a: Float[Array | np.ndarray, "n d"],
    b: Float[Array | np.ndarray, "m d"],
    *,
    slices: int = 500,
    order: int = 2,
    seed: int = 0,
) -> float:
    """Return the sliced Wasserstein distance: that of projections onto random directions, averaged as powers.

    Raises:
        ValueError: if sizes differ.

    References:
        Bonneel et al., "Sliced and Radon Wasserstein Barycenters of Measures", 2015.
    """
    a, b = np.asarray(a), np.asarray(b)
    _check_sizes(a, b)
    directions = np.random.default_rng(seed).standard_normal((slices, a.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    # Along a line the best assignment is that of the order.
    difference = np.sort(a @ directions.T, 0) - np.sort(b @ directions.T, 0)
    return float(np.mean(np.abs(difference) ** order) ** (1 / order))


def c2st(a: Points, b: Float[np.ndarray, "m d"], *, folds: int = 5, seed: int = 0) -> float:
    """Return how well a classifier tells two clouds apart: 0.5 for one distribution, 1 for separate ones.

    A network of two layers, ten times as wide as the points, is trained and tested on different parts in turn.

    Args:
        a: points [n, d].
        b: points [m, d].
        folds: parts, each held out once.
        seed: determines parts and initial weights.

    Returns:
        The share of held-out points that are told right.

    References:
        Lopez-Paz and Oquab, "Revisiting Classifier Two-Sample Tests", 2017.
    """
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neural_network import MLPClassifier

    x, y = np.concatenate([a, b]), np.repeat([0, 1], [len(a), len(b)])
    x = (x - b.mean(0)) / b.std(0)
    network = MLPClassifier((10 * x.shape[1],) * 2, max_iter=1000, early_stopping=True, random_state=seed)
    parts = KFold(folds, shuffle=True, random_state=seed)
    return float(cross_val_score(network, x, y, cv=parts, scoring="accuracy").mean())


def _check_sizes(a, b) -> None:
    if len(a) != len(b):
        raise ValueError(f"a and b must have equally many points, got {len(a)} and {len(b)}")
