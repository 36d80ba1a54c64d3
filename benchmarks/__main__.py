"""Everything that is timed, in one command: `python -m benchmarks [PART ...] [--out=FOLDER]`.

Each part is a module of this folder, run in a process of its own, one after the other; other work on the machine
disturbs them. Peers run where they are installed (`pip install -e '.[parity]'`). Tables go to the terminal, and with
machine and versions into `performance.md` and `performance.json` in the folder.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
import time

from benchmarks import tables

ROOT = pathlib.Path(__file__).parents[1]
PARTS = {
    "start": ("Import and first samples", ["cold_start"]),
    "compile": ("Compilation", ["compilation"]),
    "solvers": ("Error per evaluation", ["solvers"]),
    "sampling": ("Sampling loop", ["sampling_overhead"]),
    "networks": ("Networks and train step", ["networks"]),
    "likelihood": ("Probability flow and likelihood", ["likelihood"]),
    "inverse": ("Inverse problems", ["inverse", "cost"]),
    "input": ("Input", ["input", "--batches=2000"]),
    "checkpoints": ("Checkpoints", ["checkpointing"]),
}
PACKAGES = ("jax", "flax", "diffrax", "torch", "diffusers", "azula")


def machine() -> dict[str, str]:
    """Return what the figures were measured on."""
    import sgm_jax

    found = {"sgm_jax": sgm_jax.__version__, "python": platform.python_version(), "cores": str(os.cpu_count())}
    information = pathlib.Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    found["processor"] = names[0] if names else platform.processor()
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def run(part: str) -> tuple[str, float]:
    """Run a part; returns what it printed and its seconds."""
    module, *options = PARTS[part][1]
    command = [sys.executable, "-m", f"benchmarks.{module}", *options]
    start, lines = time.perf_counter(), []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        raise SystemExit(f"the part {part!r} failed with exit code {process.returncode}")
    return "".join(lines), time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all unless given")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/benchmarks"))
    options = parser.parse_args()
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"PART must be one of {', '.join(PARTS)}, got {part!r}")
    options.out.mkdir(parents=True, exist_ok=True)
    where, results = machine(), {}
    page = ["# Performance", ", ".join(f"{name} {value}" for name, value in where.items())]
    for part in options.parts or PARTS:
        title, command = PARTS[part]
        print(f"\n## {title}\n", flush=True)
        text, seconds = run(part)
        results[part] = {"seconds": seconds, "tables": list(tables.read(text.splitlines()))}
        page.append(f"## {title}\n\n`python -m benchmarks.{' '.join(command)}`, {seconds:.0f} s\n\n{text.strip()}")
        # After every part, so that what has run is kept.
        (options.out / "performance.md").write_text("\n\n".join(page) + "\n")
        (options.out / "performance.json").write_text(json.dumps({"machine": where, "parts": results}, indent=2))
    print(f"\n{options.out / 'performance.md'}, {options.out / 'performance.json'}")


if __name__ == "__main__":
    main()
