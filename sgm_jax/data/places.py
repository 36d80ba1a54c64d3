"""Where image files lie: in a folder or in a zip archive."""

import dataclasses
import functools
import io
import pathlib
import zipfile
import zlib
from typing import Any

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# What reading a broken image raises, by way of Pillow and of zip archives.
BROKEN = (OSError, SyntaxError, ValueError, zlib.error, zipfile.BadZipFile)


def is_image(name: str) -> bool:
    """Tell images by their ending from other files, and from the hidden ones that file managers leave beside them."""
    path = pathlib.PurePosixPath(name)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder and its sub-folders.

    Args:
        root: the folder.
    """

    root: pathlib.Path

    def __post_init__(self):
        if not self.root.is_dir():
            what = "a file" if self.root.is_file() else "nothing there"
            raise ValueError(f"path must be a folder or zip archive of images, got {str(self.root)!r}, {what}")

    def names(self) -> list[str]:
        """Return the images' paths below the folder, sorted."""
        found = sorted(path for path in self.root.rglob("*") if path.is_file())
        return [name for name in (path.relative_to(self.root).as_posix() for path in found) if is_image(name)]

    def open(self, name: str) -> io.BufferedIOBase:
        """Open a file for reading."""
        return (self.root / name).open("rb")

    def stamps(self) -> list[Any]:
        """Return what changes when the images do."""
        stats = [(name, (self.root / name).stat()) for name in self.names()]
        return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]


@dataclasses.dataclass(frozen=True)
class Archive:
    """A zip archive.

    Args:
        root: the file.
    """

    root: pathlib.Path

    def __post_init__(self):
        try:
            with zipfile.ZipFile(self.root):
                pass
        except (OSError, zipfile.BadZipFile) as error:
            raise ValueError(f"path must be a zip archive of images, got {str(self.root)!r}: {error}") from error

    @functools.cached_property
    def _file(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self.root)

    def __getstate__(self) -> dict[str, Any]:
        # An open file does not go to another process, which opens its own.
        return {"root": self.root}

    def names(self) -> list[str]:
        """Return the images' paths in the archive, sorted."""
        return sorted(filter(is_image, self._file.namelist()))

    def open(self, name: str) -> io.BufferedIOBase:
        """Open a file for reading."""
        return io.BytesIO(self._file.read(name))

    def stamps(self) -> list[Any]:
        """Return what changes when the images do."""
        return [[entry.filename, entry.file_size, entry.CRC] for entry in self._file.infolist()]


def place(path: str) -> Folder | Archive:
    """Return the folder or archive at `path`.

    Raises:
        ValueError: if it is neither.
    """
    root = pathlib.Path(path).expanduser()
    return Archive(root) if root.suffix.lower() == ".zip" else Folder(root)
