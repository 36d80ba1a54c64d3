"""Markdown tables, as every benchmark prints them and `python -m benchmarks` reads them."""

import re
from collections.abc import Iterable, Iterator


def header(*names: str) -> None:
    """Print the head of a table, after an empty line."""
    print("\n| " + " | ".join(names) + " |\n|" + "---|" * len(names), flush=True)


def row(*cells: object) -> None:
    """Print a row of a table."""
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def read(lines: Iterable[str]) -> Iterator[list[dict[str, str]]]:
    """Yield the tables in a text, each as its rows, from column to cell."""
    table, names = [], None
    for line in [*lines, ""]:
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            if table:
                yield table
            table, names = [], None
        elif names is None:
            names = cells
        elif not re.fullmatch(r"[|\s:-]+", line):
            table.append(dict(zip(names, cells, strict=True)))
