"""Grids, PNGs and animations of raw images."""

import io
import pathlib

import numpy as np
from jaxtyping import Shaped, UInt8

Images = Shaped[np.ndarray, "n h w c"]


def grid(images: Images, columns: int | None = None, padding: int = 1) -> UInt8[np.ndarray, "H W c"]:
    """Lay images out in rows.

    Args:
        images: uint8 [n, h, w, c] with 1, 3 or 4 channels; other integers are scaled to 8 bits by their largest value.
        columns: images a row; about as many as rows unless given.
        padding: mid-grey pixels between images.

    Raises:
        ValueError: if there are no images or they are no integers [n, h, w, c].
    """
    images = as_bytes(images)
    count, height, width, channels = images.shape
    columns = int(np.ceil(np.sqrt(count))) if columns is None else columns
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    rows = -(-count // columns)
    sheet = np.full(
        (rows * (height + padding) - padding, columns * (width + padding) - padding, channels), 128, np.uint8
    )
    for number, image in enumerate(images):
        top, left = number // columns * (height + padding), number % columns * (width + padding)
        sheet[top : top + height, left : left + width] = image
    return sheet


def as_bytes(images: Shaped[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    """Check images [..., h, w, c] and bring them to 8 bits; two channels lose the second (alpha)."""
    images = np.asarray(images)
    if images.ndim < 4 or 0 in images.shape or images.shape[-1] not in (1, 2, 3, 4):
        raise ValueError(f"images must be [n, h, w, c] with 1 to 4 channels, got shape {images.shape}")
    if not np.issubdtype(images.dtype, np.integer):
        raise ValueError(f"images must be raw integers, got {images.dtype}")
    if images.shape[-1] == 2:
        images = images[..., :1]
    # Few levels (as in 8x8 digits of 17) or many (16 bits) are stretched to the screen's 256.
    top = int(images.max())
    if images.dtype != np.uint8 or top <= 64:
        images = np.round(images * (255 / max(top, 1))).astype(np.uint8)
    return images


def enlarge(image: UInt8[np.ndarray, "H W c"], width: int) -> UInt8[np.ndarray, "H2 W2 c"]:
    """Repeat pixels by the largest whole factor that keeps the image at most `width` wide."""
    factor = max(1, width // image.shape[1])
    return image.repeat(factor, 0).repeat(factor, 1)


def _pillow(image: UInt8[np.ndarray, "H W c"]):
    from PIL import Image

    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def png(image: UInt8[np.ndarray, "H W c"]) -> bytes:
    """Encode an image as PNG."""
    buffer = io.BytesIO()
    _pillow(image).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def save_png(path: pathlib.Path, image: UInt8[np.ndarray, "H W c"]) -> None:
    """Write an image as PNG."""
    pathlib.Path(path).write_bytes(png(image))


def animation(frames: list[UInt8[np.ndarray, "H W c"]], milliseconds: int = 90, pause: int = 2000) -> bytes:
    """Encode frames as a looping GIF that pauses on the last."""
    pictures = [_pillow(frame) for frame in frames]
    buffer = io.BytesIO()
    durations = [milliseconds] * (len(frames) - 1) + [pause]
    pictures[0].save(buffer, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0)
    return buffer.getvalue()
