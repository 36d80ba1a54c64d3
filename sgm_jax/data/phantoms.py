"""Phantoms of medical imaging: textured ellipses inside a head's outline, different in every image."""

import numpy as np
from jaxtyping import Float, UInt8

from sgm_jax.data.dataset import ArraySource, Dataset

SEED = 0
INNER = 8


def phantom(generator: np.random.Generator, size: int) -> UInt8[np.ndarray, "n n"]:
    """Draw one phantom of 8 bits: 0 outside the head, which lies inside the inscribed circle.

    A bright outline, then grey matter, then up to eight ellipses of random place, size, turn and contrast, as Shepp's
    and Logan's. Each carries a smooth random texture of its own, so that no part is of one value.

    References:
        Shepp, Logan, The Fourier Reconstruction of a Head Section, 1974.
    """
    axis = (np.arange(size) - size // 2) / (size / 2)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    long, short = generator.uniform(0.78, 0.92), generator.uniform(0.6, 0.75)
    tilt = generator.uniform(-0.2, 0.2)
    skull = generator.uniform(0.06, 0.1)
    edge = 2 / size
    image = generator.uniform(0.8, 0.95) * _ellipse(x, y, (0, 0), (short, long), tilt, edge)
    inside = _ellipse(x, y, (0, 0), (short - skull, long - skull), tilt, edge)
    matter = generator.uniform(0.3, 0.5) + generator.uniform(0.05, 0.1) * _texture(generator, size, 0.12)
    image += inside * (matter - image)
    for _ in range(generator.integers(4, INNER + 1)):
        radius, angle = 0.5 * np.sqrt(generator.random()), generator.uniform(0, 2 * np.pi)
        centre = (radius * np.cos(angle) * short, radius * np.sin(angle) * long)
        part = _ellipse(x, y, centre, generator.uniform(0.06, 0.28, 2), generator.uniform(0, np.pi), edge)
        contrast = generator.choice([-1, 1]) * generator.uniform(0.08, 0.25)
        texture = generator.uniform(0.03, 0.1) * _texture(generator, size, generator.uniform(0.05, 0.2))
        image += inside * part * (contrast + texture)
    return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)


def phantoms(size: int = 64, count: int = 2000) -> Dataset:
    """Draw phantoms, deterministically, 8 bits and one channel; the first tenth is held out.

    Image `i` is the same whatever `count`.

    Args:
        size: height and width in pixels.
        count: number of images.

    Raises:
        ValueError: if `size` is below 16 or `count` below 10.
    """
    if size < 16:
        raise ValueError(f"size must be at least 16 pixels, got {size}")
    if count < 10:
        raise ValueError(f"count must be at least 10 images, got {count}")
    images = np.stack([phantom(np.random.default_rng([SEED, i]), size) for i in range(count)])[..., None]
    train, test = ArraySource(images[count // 10 :]), ArraySource(images[: count // 10])
    return Dataset(train, test, (size, size, 1), 256, None, "phantoms")


def _ellipse(x, y, centre, axes, tilt, edge) -> Float[np.ndarray, "n n"]:
    """Return 1 inside an ellipse and 0 outside, with an edge about a pixel wide."""
    cos, sin = np.cos(tilt), np.sin(tilt)
    along, across = cos * (x - centre[0]) + sin * (y - centre[1]), cos * (y - centre[1]) - sin * (x - centre[0])
    distance = np.hypot(along / axes[0], across / axes[1])
    return np.clip(0.5 + (1 - distance) * min(axes) / edge, 0, 1)


def _texture(generator: np.random.Generator, size: int, length: float) -> Float[np.ndarray, "n n"]:
    """Return a Gaussian random field of unit deviation, its correlation of `length` half-widths of the image."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij"))
    smooth = np.exp(-0.5 * (2 * np.pi * frequency * length * size / 2) ** 2)
    field = np.fft.irfft2(np.fft.rfft2(generator.standard_normal((size, size))) * smooth, (size, size))
    return field / field.std()
