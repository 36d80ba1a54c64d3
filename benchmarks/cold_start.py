"""Seconds to import the library, and to 100 digits of the network in it: `python -m benchmarks.cold_start`.

A new process each time: imports, data, weights, compilation, sampling, image grid and page are all in it. Beside the
seconds stand those that processors worked, which other work on the machine changes less.
"""

import argparse
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

from benchmarks import tables

ROOT = pathlib.Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    tables.header("from nothing to", "seconds", "of processors")
    for _ in range(repeats):
        start, worked = time.perf_counter(), processor_seconds()
        subprocess.run([sys.executable, "-c", "from sgm_jax import sample, log_likelihood"], cwd=ROOT, check=True)
        tables.row(
            "imported sampling and likelihood",
            f"{time.perf_counter() - start:.2f}",
            f"{processor_seconds() - worked:.2f}",
        )
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as workdir:
            command = ["launch.py", "--config=configs/pretrained.py:mnist", "--mode=sample", f"--workdir={workdir}"]
            start, worked = time.perf_counter(), processor_seconds()
            subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True)
            seconds = time.perf_counter() - start
            assert (pathlib.Path(workdir) / "samples" / "index.html").is_file()
        tables.row("100 digits", f"{seconds:.1f}", f"{processor_seconds() - worked:.1f}")


def processor_seconds() -> float:
    """Return how long processors have worked for the processes that were started here and ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
