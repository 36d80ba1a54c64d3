"""Clouds of points in the plane as glowing pictures."""

import dataclasses

import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage

from sgm_jax.report.images import encode_gif

Points = Float[np.ndarray, "n 2"]


@dataclasses.dataclass(frozen=True)
class Window:
    """A square of the plane.

    Args:
        centre: its middle, (x, y).
        half: half its side.
    """

    centre: tuple[float, float]
    half: float

    def __str__(self) -> str:
        x, y = self.centre
        return f"[{x - self.half:.2g}, {x + self.half:.2g}] × [{y - self.half:.2g}, {y + self.half:.2g}]"

    def inside(self, points: Points) -> np.ndarray:
        """Tell for each of `points` [n, 2] whether it can be seen; what is not finite cannot."""
        return (np.abs(points - self.centre) < self.half).all(1)


def window(points: Points) -> Window:
    """Return the square that holds all but the outermost percent of `points` [n, 2], with a margin."""
    points = points[np.isfinite(points).all(1)]
    if not len(points):
        return Window((0.0, 0.0), 1.0)
    low, high = np.percentile(points, [0.5, 99.5], axis=0)
    half = 0.58 * float((high - low).max())
    return Window(tuple(((low + high) / 2).tolist()), half if half > 0 else 1.0)


def density(points: Points, view: Window, size: int) -> UInt8[np.ndarray, "{size} {size}"]:
    """Draw points as soft dots whose light adds up, 0 where there are none.

    Args:
        points: [n, 2]; those outside the window are left out.
        view: the square to show.
        size: side of the picture in pixels.
    """
    seen = points[view.inside(points)]
    if not len(seen):
        return np.zeros((size, size), np.uint8)
    cell = ((seen - view.centre) / view.half + 1) * (size / 2)
    column, row = np.clip(cell.astype(int), 0, size - 1).T
    # Rows of a picture run downwards, the second coordinate upwards.
    counts = np.bincount((size - 1 - row) * size + column, minlength=size * size).reshape(size, size)
    # Dots shrink as there are more of them, so that a few can be seen and many do not blur.
    radius = size / 420 * np.clip(100 / np.sqrt(len(seen)), 1.0, 4.0)
    light = ndimage.gaussian_filter(counts.astype(np.float32), radius, mode="constant")
    bright = np.percentile(light[light > 0.05 * light.max()], 90)
    return np.rint(255 * (1 - np.exp(-1.6 * light / bright))).astype(np.uint8)


def colour(levels: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Colour a picture from near black over purple to pale yellow."""
    return _palette()[levels]


def animate(frames: Float[np.ndarray, "frames n 2"], view: Window, size: int, seconds: float, pause: float) -> bytes:
    """Encode the movement of points as GIF, seen through a window that opens as far as they spread.

    Args:
        frames: positions [frames, n, 2].
        view: the smallest window.
        size: side of the picture in pixels.
        seconds: duration of a frame.
        pause: duration of the last one.
    """
    from PIL import Image

    palette = _palette().reshape(-1).tolist()
    pictures = []
    for points in frames:
        finite = points[np.isfinite(points).all(1)]
        spread = 2.5 * float(finite.std(0).max()) if len(finite) else 0.0
        picture = Image.fromarray(density(points, dataclasses.replace(view, half=max(view.half, spread)), size), "P")
        picture.putpalette(palette)
        pictures.append(picture)
    return encode_gif(pictures, seconds, pause)


def _palette() -> UInt8[np.ndarray, "256 3"]:
    import matplotlib

    return matplotlib.colormaps["magma"](np.arange(256), bytes=True)[:, :3]
