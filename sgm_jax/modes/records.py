"""Records of a long measurement, part by part, from which a killed run goes on to the very same result."""

import json
import pathlib
from typing import Any

from sgm_jax.training.checkpoint import to_json


def resume(path: pathlib.Path, measured: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a file holds of this very measurement; one of another measurement is started anew, with a word.

    Args:
        path: the file: what is measured in its first line, then a line a record, all JSON.
        measured: everything that the measurement depends on, by name.
    """
    measured = to_json(measured)
    # A run killed while it wrote leaves half a line, which is cut off.
    whole = path.read_text().rpartition("\n")[0].splitlines() if path.is_file() else []
    found, *records = map(json.loads, whole) if whole else (None,)
    if found != measured:
        if found is not None:
            names = sorted(name for name in found | measured if found.get(name) != measured.get(name))
            print(f"{path} is of other settings ({', '.join(names)}): starting anew")
        whole, records = [json.dumps(measured)], []
    path.write_text("\n".join(whole) + "\n")
    return records


def append(path: pathlib.Path, record: dict[str, Any]) -> dict[str, Any]:
    """Add one record to the file, and return it as it will be read from there."""
    line = json.dumps(to_json(record))
    with path.open("a") as file:
        file.write(line + "\n")
    return json.loads(line)
