"""Densities in the plane, drawn deterministically, each coordinate of about unit variance."""

from collections.abc import Callable

import numpy as np

from sgm_jax.data.dataset import ArraySource, Dataset

Points = np.ndarray
SEED = 0


def two_moons(generator: np.random.Generator, count: int) -> Points:
    """Draw from two interleaved half circles with noise."""
    angle = np.pi * generator.random(count)
    lower = generator.integers(0, 2, count)
    x = np.where(lower, 1 - np.cos(angle), np.cos(angle)) - 0.5
    y = np.where(lower, 0.5 - np.sin(angle), np.sin(angle)) - 0.25
    return np.stack([1.15 * x, 2.0 * y], 1) + 0.08 * generator.standard_normal((count, 2))


def swiss_roll(generator: np.random.Generator, count: int) -> Points:
    """Draw from a spiral with noise."""
    angle = 1.5 * np.pi * (1 + 2 * generator.random(count))
    spiral = angle[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    mean = np.array([2, 2 / (3 * np.pi)])
    return (spiral - mean + 0.5 * generator.standard_normal((count, 2))) / 7


def checkerboard(generator: np.random.Generator, count: int) -> Points:
    """Draw uniformly from the eight black fields of a 4x4 board on [-1.7, 1.7]."""
    column = generator.integers(0, 4, count)
    row = 2 * generator.integers(0, 2, count) + column % 2
    return (np.stack([column, row], 1) + generator.random((count, 2)) - 2) * 0.85


def rings(generator: np.random.Generator, count: int) -> Points:
    """Draw from three concentric rings with noise."""
    angle, radius = 2 * np.pi * generator.random(count), generator.integers(1, 4, count) / 1.6
    circle = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return circle + 0.05 * generator.standard_normal((count, 2))


def eight_gaussians(generator: np.random.Generator, count: int) -> Points:
    """Draw from eight Gaussians of deviation 0.15 on a circle of radius 1.4."""
    angle = generator.integers(0, 8, count) * np.pi / 4
    centre = 1.4 * np.stack([np.cos(angle), np.sin(angle)], 1)
    return centre + 0.15 * generator.standard_normal((count, 2))


def pinwheel(generator: np.random.Generator, count: int) -> Points:
    """Draw from five twisted arms."""
    along = 1 + 0.3 * generator.standard_normal(count)
    across = 0.05 * generator.standard_normal(count)
    angle = generator.integers(0, 5, count) * 2 * np.pi / 5 + 0.25 * np.exp(along)
    turned = [along * np.cos(angle) - across * np.sin(angle), along * np.sin(angle) + across * np.cos(angle)]
    return 1.3 * np.stack(turned, 1)


def loader(name: str, draw: Callable[[np.random.Generator, int], Points]) -> Callable[..., Dataset]:
    """Return the function `(size=20000) -> Dataset` of a density; a tenth of the points is held out."""

    def load(size: int = 20_000) -> Dataset:
        if size < 10:
            raise ValueError(f"size must be at least 10 points, got {size}")
        points = draw(np.random.default_rng(SEED), size).astype(np.float32)
        train, test = ArraySource(points[size // 10 :]), ArraySource(points[: size // 10])
        return Dataset(train, test, (2,), None, None, name)

    return load


DENSITIES = {
    function.__name__: loader(function.__name__, function)
    for function in (checkerboard, eight_gaussians, pinwheel, rings, swiss_roll, two_moons)
}
