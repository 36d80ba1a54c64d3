"""Progress of long work: a bar on terminals, a line now and then in logs."""

import os
import sys
from collections.abc import Iterable
from typing import Any

import jax
from tqdm import tqdm

EVERY = 30.0  # seconds between two lines in a log
LINE = "{desc}: {n_fmt} of {total_fmt}, {elapsed} so far, {remaining} to go{postfix}"


def progress(items: Iterable | None = None, **options: Any) -> tqdm:
    """Return a bar over `items` or to be updated by hand, in colour on terminals, as lines elsewhere.

    Args:
        items: what is worked through, or None.
        **options: of `tqdm`: `desc`, `unit`, `total`, `initial`.
    """
    if jax.distributed.is_initialized() and jax.process_index():
        options["disable"] = True  # the first of several hosts shows it
    if sys.stderr.isatty():
        plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
        return tqdm(items, mininterval=0.5, colour=None if plain else "green", **options)
    # A delay keeps it from telling that nothing is done yet.
    return _Lines(items, mininterval=EVERY, maxinterval=EVERY, delay=1e-9, bar_format=LINE, **options)


class _Lines(tqdm):
    """A bar that writes each state as a line of its own, the last one too."""

    @staticmethod
    def status_printer(file: Any):
        return lambda line: print(line, file=file, flush=True) if line else None

    def close(self):
        if self.disable:
            return
        self.disable = True
        self._decr_instances(self)  # pyright: ignore[reportAttributeAccessIssue]
        if self.n > self.last_print_n:
            self.display()
