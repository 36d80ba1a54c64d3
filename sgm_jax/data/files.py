"""Your own data: a folder of images, or arrays in a file. Everything is checked before anything starts."""

import concurrent.futures
import dataclasses
import pathlib
import zlib
from typing import Any

import numpy as np

from sgm_jax.data.dataset import ArraySource, Dataset, Example

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
CHANNELS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I")


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """Images decoded when they are asked for.

    Args:
        paths: the files.
        label: their classes, or None.
        mode: Pillow's name of the colour mode to decode to; None leaves 16-bit grey as it is.
        size: height and width to resize to, or None.
    """

    paths: tuple[pathlib.Path, ...]
    label: tuple[int, ...] | None
    mode: str | None
    size: int | None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Example:
        from PIL import Image

        with Image.open(self.paths[index]) as image:
            image = image if self.mode is None else image.convert(self.mode)
            x = np.asarray(image if self.size is None else crop_and_resize(image, self.size))
        x = x[..., None] if x.ndim == 2 else x
        x = x.astype(np.uint8 if self.mode else np.int32)
        return {"x": x} if self.label is None else {"x": x, "label": np.int32(self.label[index])}


def crop_and_resize(image: Any, size: int) -> Any:
    """Crop a Pillow image to its centre square and resize it, antialiased, to `size`."""
    from PIL import Image

    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return image.resize((size, size), Image.Resampling.BICUBIC, (left, top, left + side, top + side))


def folder(path: str, size: int | None = None, channels: int | None = None, test_fraction: float = 0.1) -> Dataset:
    """Load a folder of images of any size, with labels from its sub-folders if all images lie in such.

    Args:
        path: the folder; searched with its sub-folders.
        size: height and width to crop and resize to; None asks for images that are all of one size.
        channels: 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA); what the images have unless given. 16-bit grey images
            keep their 65,536 levels.
        test_fraction: share of the images held out, chosen by a hash of their relative paths.

    Raises:
        ValueError: if the folder is missing or empty, a file is broken, or sizes or colours are mixed, naming which.
    """
    root = pathlib.Path(path).expanduser()
    if not root.is_dir():
        raise ValueError(f"path must be a folder of images, got {str(root)!r}")
    if size is not None and size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    if channels is not None and channels not in CHANNELS:
        raise ValueError(f"channels must be one of {', '.join(map(str, CHANNELS))}, got {channels}")
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction must lie between 0 and 1, got {test_fraction}")
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if len(paths) < 2:
        raise ValueError(f"path {str(root)!r} must hold at least two images ({', '.join(SUFFIXES)}), got {len(paths)}")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        facts = list(pool.map(_inspect, paths))

    for what, values, cure in (
        ("size", [fact[0] for fact in facts], "set size to crop and resize them all" if size is None else None),
        ("colour mode", [fact[1] for fact in facts], "set channels to convert them all" if channels is None else None),
    ):
        odd = next((i for i, value in enumerate(values) if value != values[0]), None)
        if cure and odd is not None:
            raise ValueError(
                f"images must share one {what}, got {values[0]} in {paths[0].name} and {values[odd]} in "
                f"{paths[odd].name}; {cure}"
            )
    mode = facts[0][1] if channels is None else CHANNELS[channels]
    deep = channels is None and mode in SIXTEEN_BITS
    width, height = (size, size) if size is not None else facts[0][0]
    shape = (height, width, 1 if deep else next(n for n, name in CHANNELS.items() if name == mode))

    relative = [p.relative_to(root) for p in paths]
    names = sorted({p.parts[0] for p in relative})
    labelled = all(len(p.parts) > 1 for p in relative) and len(names) > 1
    label = np.array([names.index(p.parts[0]) for p in relative]) if labelled else None
    score = np.array([zlib.crc32(p.as_posix().encode()) for p in relative])
    test = np.sort(np.argsort(score, kind="stable")[: max(1, round(test_fraction * len(paths)))])
    train = np.setdiff1d(np.arange(len(paths)), test)

    def part(indices: np.ndarray) -> ImageFiles:
        chosen = None if label is None else tuple(int(label[i]) for i in indices)
        return ImageFiles(tuple(paths[i] for i in indices), chosen, None if deep else mode, size)

    levels = 65_536 if deep else 256
    return Dataset(part(train), part(test), shape, levels, len(names) if labelled else None, root.name)


def _inspect(path: pathlib.Path) -> tuple[tuple[int, int], str]:
    """Decode an image to see that it is whole; return its (width, height) and colour mode."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
            mode = {"1": "L", "P": "RGB"}.get(image.mode, image.mode)
            return image.size, mode
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"image {str(path)!r} is broken: {error}") from error


def arrays(path: str, test_fraction: float = 0.1, shape: tuple[int, ...] | None = None) -> Dataset:
    """Load `x` [n, d] or [n, h, w, c] from a `.npy` file, or `x` and, if there, `label` [n] from a `.npz` file.

    8-bit integers are images of 256 levels, floating-point numbers continuous data.

    Args:
        path: the file.
        test_fraction: share of the examples held out, by a fixed permutation.
        shape: shape that each example must have; any unless given.

    Raises:
        ValueError: if the file cannot be read, has the wrong shape or type, or holds NaN or infinity, saying where.
    """
    file = pathlib.Path(path).expanduser()
    try:
        loaded = np.load(file, allow_pickle=False)
        stored = {"x": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"path must be a .npy or .npz file, got {str(file)!r}: {error}") from error
    if "x" not in stored:
        raise ValueError(f"{file.name} must hold an array 'x', got {', '.join(stored) or 'nothing'}")
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction must lie between 0 and 1, got {test_fraction}")
    x, label = stored["x"], stored.get("label")
    if x.ndim not in (2, 4) or len(x) < 2:
        raise ValueError(f"x in {file.name} must be [n, d] or [n, h, w, c] with n > 1, got shape {x.shape}")
    if shape is not None and x.shape[1:] != tuple(shape):
        raise ValueError(f"x in {file.name} must have examples of data.shape {tuple(shape)}, got {x.shape[1:]}")
    if not (x.dtype == np.uint8 or np.issubdtype(x.dtype, np.floating)):
        raise ValueError(f"x in {file.name} must be uint8 or floating point, got {x.dtype}")
    bad = np.argwhere(~np.isfinite(x))
    if len(bad):
        where = ", ".join(map(str, bad[0]))
        raise ValueError(f"x in {file.name} must be finite, got {x[tuple(bad[0])]} at [{where}] ({len(bad)} such)")
    if label is not None and (label.shape != x.shape[:1] or not np.issubdtype(label.dtype, np.integer)):
        raise ValueError(f"label in {file.name} must be {len(x)} integers, got {label.dtype} of shape {label.shape}")
    order = np.random.default_rng(0).permutation(len(x))
    cut = max(1, round(test_fraction * len(x)))
    x = x if x.dtype == np.uint8 else x.astype(np.float32)

    def part(indices: np.ndarray) -> ArraySource:
        return ArraySource(x[indices], None if label is None else label[indices].astype(np.int32))

    levels = 256 if x.dtype == np.uint8 else None
    classes = None if label is None else int(label.max()) + 1
    return Dataset(part(order[cut:]), part(order[:cut]), x.shape[1:], levels, classes, file.stem)
