"""Classes of image files: from the sub-folders that they lie in, or from a table."""

import csv
import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int


def from_sub_folders(names: Sequence[str]) -> tuple[Int[np.ndarray, " n"] | None, int | None]:
    """Return the classes [n] and their number, in the order of the sub-folders' names.

    None where an image lies in no sub-folder, or all in the same.
    """
    parts = [pathlib.PurePosixPath(name).parts for name in names]
    folders = sorted({part[0] for part in parts})
    if len(folders) < 2 or any(len(part) < 2 for part in parts):
        return None, None
    return np.array([folders.index(part[0]) for part in parts]), len(folders)


def from_csv(path: str, names: Sequence[str]) -> tuple[Int[np.ndarray, " n"], int]:
    """Read the classes [n] of images from a table with the columns `file` and `label`.

    Args:
        path: the table, comma-separated, with a line of titles. Labels that all are integers, from 0 on, are the
            classes; others are numbered in their sorted order.
        names: the images' paths, as the table has them.

    Raises:
        ValueError: if the table cannot be read, has other columns, a row's file is unknown or there twice, its label is
            missing, or an image has no row, naming which.
    """
    file = pathlib.Path(path).expanduser()
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            rows, titles = list(reader), reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"labels must be a CSV file with columns file,label, got {str(file)!r}: {error}") from error
    if not {"file", "label"} <= set(titles):
        raise ValueError(f"{file.name} must have the columns file,label, got {','.join(titles) or 'none'}")
    known, found = set(names), {}
    for number, row in enumerate(rows, 2):
        name, label = (row["file"] or "").strip(), (row["label"] or "").strip()
        for wrong, what in (
            (name not in known, f"has the file {name!r}, which is no image there"),
            (name in found, f"has the file {name!r} a second time"),
            (not label, f"has no label for {name!r}"),
        ):
            if wrong:
                raise ValueError(f"row {number} of {file.name} {what}")
        found[name] = label
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(
            f"{file.name} must have a row for every image, got none for {missing[0]!r} ({len(missing)} such)"
        )
    if all(label.isdecimal() for label in found.values()):
        classes = np.array([int(found[name]) for name in names])
        return classes, int(classes.max()) + 1
    values = sorted(set(found.values()))
    return np.array([values.index(found[name]) for name in names]), len(values)
