"""Slices of medical volumes from arrays, as the published priors for tomography and magnetic resonance have them."""

import dataclasses
import functools
import pathlib
import zlib

import numpy as np
from PIL import Image

from sgm_jax.data.crops import FILTERS
from sgm_jax.data.dataset import Dataset, Example
from sgm_jax.data.records import Prepared


@dataclasses.dataclass(frozen=True)
class Slices:
    """Slices of volumes [slices, h, w] in `.npy` files, read from disk one by one.

    Args:
        paths: the files.
        where: number of the file and of the slice, for every example.
        scale: what each volume is multiplied by, so that its largest value is 1.
        size: height and width to resize to, or None.
    """

    paths: tuple[pathlib.Path, ...]
    where: tuple[tuple[int, int], ...]
    scale: tuple[float, ...]
    size: int | None

    @functools.cached_property
    def _volumes(self) -> list[np.ndarray]:
        return [np.load(path, mmap_mode="r") for path in self.paths]

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name != "_volumes"}

    def __len__(self) -> int:
        return len(self.where)

    def __getitem__(self, index: int) -> Example:
        volume, number = self.where[index]
        x = np.clip(np.asarray(self._volumes[volume][number], np.float32) * np.float32(self.scale[volume]), 0, 1)
        if self.size is not None and x.shape != (self.size, self.size):
            x = np.asarray(Image.fromarray(x).resize((self.size, self.size), FILTERS["bilinear"]))
        return {"x": x[..., None]}


def medical(
    path: str, size: int | None = None, test_fraction: float = 0.1, data_dir: str | None = None
) -> Dataset | Prepared:
    """Load slices of medical volumes (BraTS, LIDC and the like): continuous values in [0, 1], 1 channel.

    Each volume is divided by its largest value, values below zero become zero, and slices without any signal are left
    out. Whole volumes are held out, so that no patient is on both sides.

    Args:
        path: folder of `.npy` files, each one volume [slices, h, w] of numbers.
        size: height and width to resize to, bilinearly and antialiased (papers: 240 BraTS, 320 LIDC, 512 LDCT).
        test_fraction: share of the volumes held out, chosen by a hash of their names.
        data_dir: where the slices are prepared as records, by mode `prepare`; without it volumes are read as they are.

    Raises:
        ValueError: if there are fewer than two volumes, or one is no such array or not finite, naming which.

    References:
        Song et al., Solving Inverse Problems in Medical Imaging with Score-Based Generative Models, 2022.
    """
    root = pathlib.Path(path).expanduser()
    paths = tuple(sorted(root.glob("*.npy")))
    if len(paths) < 2:
        raise ValueError(f"path must be a folder of at least two .npy volumes, got {str(root)!r} with {len(paths)}")
    if size is not None and size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction must lie between 0 and 1, got {test_fraction}")
    if data_dir is None:
        return _read(paths, size, test_fraction)
    name = f"medical-{root.name}" if size is None else f"medical-{root.name}-{size}"
    stamps = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in paths]
    return Prepared(
        root.name,
        pathlib.Path(data_dir).expanduser() / "sgm_jax" / name,
        {"files": stamps, "options": [size, test_fraction]},
        lambda: _read(paths, size, test_fraction),
    )


def _read(paths: tuple[pathlib.Path, ...], size: int | None, test_fraction: float) -> Dataset:
    shapes, where, scale = [], [], []
    for number, file in enumerate(paths):
        try:
            volume = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(f"volume {str(file)!r} is broken: {error}") from error
        if volume.ndim != 3 or not np.issubdtype(volume.dtype, np.number) or np.iscomplexobj(volume):
            raise ValueError(
                f"volume {file.name} must be real numbers [slices, h, w], got {volume.dtype} {volume.shape}"
            )
        highest = volume.max(axis=(1, 2), initial=0)
        if not np.isfinite(highest).all():
            raise ValueError(f"volume {file.name} must be finite, got {highest[~np.isfinite(highest)][0]}")
        shapes.append(volume.shape[1:])
        scale.append(1 / float(highest.max()) if highest.max() > 0 else 1.0)
        where.append([(number, index) for index in np.flatnonzero(highest > 0).tolist()])
    if size is None and len(set(shapes)) > 1:
        odd = next(number for number, shape in enumerate(shapes) if shape != shapes[0])
        raise ValueError(
            f"volumes must share one size, got {shapes[0]} in {paths[0].name} and {shapes[odd]} in {paths[odd].name}; "
            "set size to resize them all"
        )
    order = np.argsort([zlib.crc32(file.name.encode()) for file in paths], kind="stable")
    held_out = {int(number) for number in order[: max(1, round(test_fraction * len(paths)))]}

    def part(test: bool) -> Slices:
        chosen = [place for number, places in enumerate(where) if (number in held_out) is test for place in places]
        return Slices(paths, tuple(chosen), tuple(scale), size)

    shape = (size, size) if size is not None else shapes[0]
    return Dataset(part(False), part(True), (*shape, 1), None, None, paths[0].parent.name)
