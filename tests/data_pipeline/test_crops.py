"""Crops and resizes against the filters' own formulas."""

import numpy as np
import pytest
from PIL import Image

from sgm_jax.data import crops

PHOTOGRAPH = np.random.default_rng(0).integers(0, 256, (218, 178, 3), np.uint8)


def triangle(x):
    return np.maximum(0, 1 - np.abs(x))


def cubic(x):
    """Keys's kernel with a = -1/2."""
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x**2 + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def resized(image, height, width, kernel):
    """Resize by weighted means, the kernel stretched where the image shrinks, as antialiased resizing is defined."""
    for axis, size in enumerate((height, width)):
        ratio = image.shape[axis] / size
        centre = (np.arange(size)[:, None] + 0.5) * ratio
        weight = kernel((np.arange(image.shape[axis])[None] + 0.5 - centre) / max(ratio, 1))
        image = np.moveaxis(np.tensordot(weight / weight.sum(1, keepdims=True), image, (1, axis)), 0, axis)
    return np.clip(image, 0, 255)


@pytest.mark.parametrize(
    ("crop", "size", "expected"),
    [
        (crops.celeba, 64, lambda x: resized(x[39:179, 19:159].astype(float), 64, 64, triangle)),
        (crops.centre_square, 64, lambda x: resized(x[20:198].astype(float), 64, 64, cubic)),
        # 218 is scaled by 128/178 and rounded to 157; the crop begins at (157 - 128) // 2.
        (crops.shortest_side, 128, lambda x: resized(x.astype(float), 157, 128, triangle)[14:142]),
        # Halved once to 109 x 89, then by 64/89 to 78 x 64.
        (
            crops.halve_then_bicubic,
            64,
            lambda x: resized(x.reshape(109, 2, 89, 2, 3).mean((1, 3)), 78, 64, cubic)[7:71],
        ),
    ],
)
def test_crops_are_the_papers(crop, size, expected):
    found = np.asarray(crop(Image.fromarray(PHOTOGRAPH), size)).astype(float)
    assert found.shape == (size, size, 3)
    # Every pass rounds to whole values: two of them, or four, the first two of which round halves up.
    np.testing.assert_allclose(found, expected(PHOTOGRAPH), atol=2)
    assert np.abs(found - expected(PHOTOGRAPH)).mean() < 0.6


def test_box_averages_whole_blocks():
    image = Image.fromarray(PHOTOGRAPH[:128, :128])
    expected = PHOTOGRAPH[:128, :128].reshape(32, 4, 32, 4, 3).mean((1, 3))
    np.testing.assert_allclose(crops.centre_square(image, 32, "box"), expected, atol=1)


def test_what_has_its_size_stays():
    square = PHOTOGRAPH[:64, :64]
    for crop in (crops.centre_square, crops.shortest_side, crops.halve_then_bicubic):
        np.testing.assert_array_equal(crop(Image.fromarray(square), 64), square)
