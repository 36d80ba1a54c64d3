"""Dense linear measurements, and Gaussian data with any covariance."""

import jax
import jax.numpy as jnp
import numpy as np

from sgm_jax import inverse
from sgm_jax.shapes import expand


class CorrelatedGaussian:
    """Gaussian data of a random mean and covariance, the latter `std**2` unless given."""

    def __init__(self, size=5, std=None):
        rng = np.random.default_rng(0)
        root = rng.normal(size=(size, size)) / size**0.5
        covariance = root @ root.T + 0.1 * np.eye(size) if std is None else std**2 * np.eye(size)
        self.mean, self.covariance = (jnp.asarray(a, jnp.float32) for a in (rng.normal(size=size), covariance))
        self.values, self.axes = jnp.linalg.eigh(self.covariance)

    def score_fn(self, sde):
        def score(t, x):
            alpha, sigma = expand(sde.alpha(t), x), expand(sde.sigma(t), x)
            return -((x - alpha * self.mean) @ self.axes / (alpha**2 * self.values + sigma**2)) @ self.axes.T

        return score

    def sample(self, key, count):
        return self.mean + jax.random.normal(key, (count, len(self.values))) * jnp.sqrt(self.values) @ self.axes.T


def matrix(measured, size, kind=float):
    rng = np.random.default_rng(1)
    real, imaginary = rng.normal(size=(2, measured, size)) / size**0.5
    return (real + (1j * imaginary if kind is complex else 0)).astype(np.complex64 if kind is complex else np.float32)


def spectral(matrix, noise_std=0.0):
    """Return the measurement of a real matrix [m, d], with its singular vectors."""
    return inverse.decompose(inverse.Dense(jnp.asarray(matrix), (matrix.shape[1],), noise_std))
