"""The Fréchet distance between two sets of features."""

import numpy as np
from jaxtyping import Float


def frechet_distance(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m e"]) -> float:
    """Return the squared Fréchet distance between Gaussians fitted to two sets of features, in float64.

    `|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))`. The trace of the root is the sum of the roots of the
    eigenvalues of the symmetric `C_a^(1/2) C_b C_a^(1/2)`, which stays real for singular covariances.

    Its expectation depends on `n` and `m`: compare only distances of equal counts.

    Args:
        a: features [n, d].
        b: features [m, d], of the same length.

    Raises:
        ValueError: if either set has fewer than two rows or the lengths of the features differ.

    References:
        Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium",
        2017, equation 6; Dowson, Landau, "The Fréchet Distance between Multivariate Normal Distributions", 1982.
    """
    for name, features in (("a", a), ("b", b)):
        if len(features) < 2:
            raise ValueError(f"{name} must have at least 2 rows, got {len(features)}")
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"a and b must have features of one length, got {a.shape[1]} and {b.shape[1]}")
    a, b = a.astype(np.float64), b.astype(np.float64)
    cov_a, cov_b = (np.atleast_2d(np.cov(features, rowvar=False)) for features in (a, b))
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    spectrum = np.maximum(np.linalg.eigvalsh(root @ cov_b @ root), 0.0)
    distance = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(cov_a) + np.trace(cov_b) - 2 * np.sqrt(spectrum).sum()
    return float(max(distance, 0.0))
