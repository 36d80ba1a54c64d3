"""Your own images: a folder or a zip archive. Everything is checked before anything starts."""

import concurrent.futures
import contextlib
import dataclasses
import pathlib
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, cast

import numpy as np
from absl import logging
from PIL import Image, ImageOps

from sgm_jax.data import crops, tables
from sgm_jax.data.checksum import check_sha256
from sgm_jax.data.dataset import BrokenExample, Dataset, Example
from sgm_jax.data.places import BROKEN, SUFFIXES, Archive, Folder, place
from sgm_jax.data.records import CORRUPT, Prepared
from sgm_jax.naming import choose

CHANNELS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I")


@contextlib.contextmanager
def upright(place: Folder | Archive, name: str) -> Iterator[Image.Image]:
    """Open an image, the way up that the camera noted beside it."""
    with place.open(name) as file, Image.open(cast(IO[bytes], file)) as image:
        ImageOps.exif_transpose(image, in_place=True)
        yield image


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """Images decoded when they are asked for, the way up that cameras noted beside them.

    Args:
        place: where the files lie.
        names: their paths there.
        label: their classes, or None.
        mode: Pillow's name of the colour mode to decode to; None leaves 16-bit grey as it is.
        crop: what makes them all of one size, or None.
    """

    place: Folder | Archive
    names: tuple[str, ...]
    label: tuple[int, ...] | None
    mode: str | None
    crop: Callable[[Any], Any] | None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Example:
        name = self.names[index]
        try:
            with upright(self.place, name) as image:
                image = image if self.mode is None else image.convert(self.mode)
                x = np.asarray(image if self.crop is None else self.crop(image))
        except BROKEN as error:
            raise BrokenExample(f"image {str(self.place.root / name)!r} is broken: {error}") from error
        x = x[..., None] if x.ndim == 2 else x
        x = x.astype(np.uint8 if self.mode else np.int32)
        return {"x": x} if self.label is None else {"x": x, "label": np.int32(self.label[index])}


def folder(
    path: str,
    size: int | None = None,
    channels: int | None = None,
    test_fraction: float = 0.1,
    labels: str | None = None,
    filter: str = "bicubic",
    corrupt: str = "fatal",
    sha256: str | None = None,
    data_dir: str | None = None,
) -> Dataset | Prepared:
    """Load a folder or zip archive of images of any size, with labels from a table or from sub-folders.

    Args:
        path: the folder, searched with its sub-folders, or the zip archive.
        size: height and width to crop and resize to; None asks for images that are all of one size.
        channels: 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA); what the images have unless given. 16-bit grey images
            keep their 65,536 levels.
        test_fraction: share of the images held out, chosen by a hash of their relative paths; 0 trains on all of them
            and evaluates on the same.
        labels: a CSV file with columns file,label; without it sub-folders are classes if all images lie in such.
        filter: of resizing, one of `crops.FILTERS`.
        corrupt: what a broken file is: "fatal", or to "skip" with a warning.
        sha256: checksum of the archive, to be checked first.
        data_dir: where the images are prepared as records, by mode `prepare`; without it files are read as they are.

    Raises:
        ValueError: if the folder is missing or empty, a file is broken, or sizes or colours are mixed, naming which.
    """
    if size is not None and size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    if channels is not None and channels not in CHANNELS:
        raise ValueError(f"channels must be one of {', '.join(map(str, CHANNELS))}, got {channels}")
    if not 0 <= test_fraction < 1:
        raise ValueError(f"test_fraction must be at least 0 and below 1, got {test_fraction}")
    choose("corrupt", corrupt, dict.fromkeys(CORRUPT))
    choose("filter", filter, crops.FILTERS)
    check_sha256(pathlib.Path(path).expanduser(), sha256)
    images = place(path)
    crop = None if size is None else crops.Square(size, filter)
    if data_dir is None:
        return _read(images, crop, size, channels, test_fraction, labels, corrupt)
    name = images.root.stem if size is None else f"{images.root.stem}-{size}"
    table = None if labels is None else pathlib.Path(labels).expanduser().read_text()
    return Prepared(
        images.root.stem,
        pathlib.Path(data_dir).expanduser() / "sgm_jax" / name,
        {"files": images.stamps(), "options": [size, channels, test_fraction, table, filter, corrupt]},
        lambda: _read(images, crop, size, channels, test_fraction, labels, corrupt),
        corrupt=corrupt,
    )


def read_images(path: str, size: int, channels: int) -> ImageFiles:
    """Return images without labels or parts, such as to restore: one file, or all of a folder or zip archive.

    Args:
        path: the image, folder or archive.
        size: height and width to crop and resize them to.
        channels: 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA).

    Raises:
        ValueError: if there are none.
    """
    root = pathlib.Path(path).expanduser()
    alone = root.is_file() and root.suffix.lower() in SUFFIXES
    images = Folder(root.parent) if alone else place(path)
    names = [root.name] if alone else images.names()
    if not names:
        raise ValueError(f"path {str(root)!r} must hold an image ({', '.join(SUFFIXES)}), got none")
    return ImageFiles(images, tuple(names), None, CHANNELS[channels], crops.Square(size))


def _read(images, crop, size, channels, test_fraction, labels, corrupt) -> Dataset:
    names = images.names()
    classes, num_classes = tables.from_sub_folders(names) if labels is None else tables.from_csv(labels, names)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        facts = list(pool.map(lambda name: _inspect(images, name), names))
    whole = {number: fact for number, fact in enumerate(facts) if not isinstance(fact, BrokenExample)}
    broken = [fact for fact in facts if isinstance(fact, BrokenExample)]
    if broken and corrupt == "fatal":
        raise BrokenExample(f"{broken[0]} ({len(broken)} such); set corrupt to skip, and they are left out")
    for fact in broken:
        logging.warning("left out: %s", fact)
    if len(whole) < 2:
        raise ValueError(
            f"path {str(images.root)!r} must hold at least two images ({', '.join(SUFFIXES)}), got {len(whole)}"
        )
    names, facts = [names[number] for number in whole], list(whole.values())
    classes = None if classes is None else classes[list(whole)]

    for what, values, cure in (
        ("size", [fact[0] for fact in facts], "set size to crop and resize them all" if size is None else None),
        ("colour mode", [fact[1] for fact in facts], "set channels to convert them all" if channels is None else None),
    ):
        odd = next((i for i, value in enumerate(values) if value != values[0]), None)
        if cure and odd is not None:
            raise ValueError(
                f"images must share one {what}, got {values[0]} in {names[0]} and {values[odd]} in {names[odd]}; {cure}"
            )
    mode = facts[0][1] if channels is None else CHANNELS[channels]
    deep = channels is None and mode in SIXTEEN_BITS
    if not deep and mode not in CHANNELS.values():
        raise ValueError(
            f"images must be {', '.join(CHANNELS.values())} or 16-bit grey, got {mode} in {names[0]}; set channels to "
            "convert them all"
        )
    width, height = (size, size) if size is not None else facts[0][0]
    shape = (height, width, 1 if deep else next(n for n, name in CHANNELS.items() if name == mode))
    score = np.array([zlib.crc32(name.encode()) for name in names])
    test = np.sort(np.argsort(score, kind="stable")[: max(1, round(test_fraction * len(names)))])

    def part(indices: np.ndarray) -> ImageFiles:
        chosen = None if classes is None else tuple(int(classes[i]) for i in indices)
        return ImageFiles(images, tuple(names[i] for i in indices), chosen, None if deep else mode, crop)

    everything = np.arange(len(names))
    train = part(np.setdiff1d(everything, test) if test_fraction else everything)
    return Dataset(
        train, part(test) if test_fraction else train, shape, 65_536 if deep else 256, num_classes, images.root.stem
    )


def _inspect(images: Folder | Archive, name: str) -> tuple[tuple[int, int], str] | BrokenExample:
    """Decode an image to see that it is whole; return its (width, height) and colour mode, or what is wrong."""
    try:
        with upright(images, name) as image:
            image.load()
            return image.size, {"1": "L", "P": "RGB"}.get(image.mode, image.mode)
    except BROKEN as error:
        return BrokenExample(f"image {str(images.root / name)!r} is broken: {error}")
