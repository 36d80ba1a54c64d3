"""Generated images of any shape, to try an experiment whose data are not at hand."""

import numpy as np

from sgm_jax.data.dataset import ArraySource, Dataset

SEED = 0


def generated(size: int = 32, channels: int = 3, count: int = 64, num_classes: int | None = None) -> Dataset:
    """Draw images of 8 bits, deterministically: pure noise; the last quarter is held out.

    Image `i` has the class `i % num_classes`, and is the same whatever `count`.

    Args:
        size: height and width in pixels.
        channels: number of channels.
        count: number of images.
        num_classes: number of classes; None for images without labels.

    Raises:
        ValueError: if `size`, `channels` or `num_classes` is not positive, or `count` below 4.
    """
    for name, value in (("size", size), ("channels", channels), ("num_classes", num_classes)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if count < 4:
        raise ValueError(f"count must be at least 4 images, got {count}")
    images = np.random.default_rng(SEED).integers(0, 256, (count, size, size, channels), np.uint8)
    label = None if num_classes is None else (np.arange(count) % num_classes).astype(np.int32)
    held_out = count - count // 4
    parts = (slice(None, held_out), slice(held_out, None))
    train, test = (ArraySource(images[part], None if label is None else label[part]) for part in parts)
    return Dataset(train, test, (size, size, channels), 256, num_classes, "generated")
