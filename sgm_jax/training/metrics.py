"""Metrics as JSON lines, and for TensorBoard."""

import json
import pathlib


class MetricsLog:
    """Rows of `<workdir>/metrics.jsonl`, one JSON object a line, each with its `step`.

    Args:
        path: the file.
        resume_step: rows of later steps are dropped, so that a run that goes on repeats no row.
        tensorboard: folder to write scalars for TensorBoard to, or None.
    """

    def __init__(self, path: pathlib.Path, resume_step: int, tensorboard: pathlib.Path | None = None):
        self.path = pathlib.Path(path)
        self._writer = None
        if tensorboard is not None:
            from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingImports]

            self._writer = SummaryWriter(str(tensorboard), purge_step=resume_step + 1)
        kept = [row for row in read_metrics(self.path) if row["step"] <= resume_step]
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(row) + "\n" for row in kept))
        temporary.replace(self.path)

    def write(self, row: dict) -> None:
        """Append a row."""
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        if self._writer is not None:
            for name in row.keys() - {"step"}:
                self._writer.add_scalar(name, row[name], row["step"])
            self._writer.flush()


def read_metrics(path: pathlib.Path) -> list[dict]:
    """Read the rows back; a last line cut short by a kill is left out."""
    path = pathlib.Path(path)
    rows = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
