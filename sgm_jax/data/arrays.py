"""Your own arrays, from a file. Everything is checked before anything starts."""

import pathlib

import numpy as np

from sgm_jax.data.checksum import check_sha256
from sgm_jax.data.dataset import ArraySource, Dataset


def arrays(
    path: str, test_fraction: float = 0.1, sha256: str | None = None, shape: tuple[int, ...] | None = None
) -> Dataset:
    """Load `x` [n, d] or [n, h, w, c] from a `.npy` file, or `x` and, if there, `label` [n] from a `.npz` file.

    8-bit integers are images of 256 levels, floating-point numbers continuous data.

    Args:
        path: the file.
        test_fraction: share of the examples held out, by a fixed permutation.
        sha256: the file's checksum, to be checked first.
        shape: shape that each example must have; any unless given.

    Raises:
        ValueError: if the checksum is another, or the file cannot be read, has the wrong shape or type, or holds NaN or
            infinity, saying where.
    """
    file = pathlib.Path(path).expanduser()
    check_sha256(file, sha256)
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
