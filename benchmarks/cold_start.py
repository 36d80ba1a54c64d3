"""Seconds from nothing to 100 digits of the network that comes with the library: `python benchmarks/cold_start.py`.

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

ROOT = pathlib.Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    for _ in range(parser.parse_args().repeats):
        with tempfile.TemporaryDirectory() as workdir:
            command = ["launch.py", "--config=configs/pretrained.py:mnist", "--mode=sample", f"--workdir={workdir}"]
            start, worked = time.perf_counter(), processor_seconds()
            subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True)
            seconds = time.perf_counter() - start
            assert (pathlib.Path(workdir) / "samples" / "index.html").is_file()
        print(f"{seconds:.1f} s, {processor_seconds() - worked:.1f} s of processors", flush=True)


def processor_seconds() -> float:
    """Return how long processors have worked for the processes that were started here and ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
