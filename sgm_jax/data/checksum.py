"""Checksums of files that were downloaded by hand."""

import hashlib
import pathlib


def check_sha256(path: pathlib.Path, expected: str | None) -> None:
    """Check a file's SHA-256 where one is expected.

    Raises:
        ValueError: if the file is missing, or its checksum is another.
    """
    if expected is None:
        return
    if not path.is_file():
        raise ValueError(f"path must be a file for a sha256 to be checked, got {str(path)!r}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected.lower():
        raise ValueError(f"sha256 of {str(path)!r} must be {expected}, got {found}: download the file anew")
