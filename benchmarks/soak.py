"""Kills a training run at random moments, over and over: `python -m benchmarks.soak [--kills=100] [--minutes=15]`.

A small run is started by the launcher, killed with SIGKILL, started again, and so on; then it is left to end. Prints
how many kills there were, at which steps it went on, and whether parameters and losses are those of an uninterrupted
run, bit for bit.
"""

import argparse
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np

from configs.toy import get_config
from sgm_jax.experiment import Experiment
from sgm_jax.training import Checkpoints, read_metrics

ROOT = pathlib.Path(__file__).parents[1]
SETTINGS = {"steps": 20000, "checkpoint_every": 50, "log_every": 50, "eval_every": 0, "batch_size": 32}


def start(workdir: pathlib.Path) -> subprocess.Popen:
    """Start, or go on with, the run."""
    options = [f"--config.train.{name}={value}" for name, value in SETTINGS.items()]
    program = [sys.executable, "launch.py", "--config=configs/toy.py:smoke", f"--workdir={workdir}", "--mode=train"]
    return subprocess.Popen([*program, *options], cwd=ROOT, stderr=subprocess.PIPE, text=True)


def outcome(workdir: pathlib.Path):
    """Return the last state and the losses of a finished run."""
    config = get_config("smoke")
    config.train.update(SETTINGS)
    with Checkpoints(workdir) as checkpoints:
        state, _ = checkpoints.restore(jax.eval_shape(Experiment.from_config(config).init))
    losses = {row["step"]: row["loss"] for row in read_metrics(workdir / "metrics.jsonl")}
    return state, losses


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance, began = random.Random(arguments.seed), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = pathlib.Path(folder) / "whole", pathlib.Path(folder) / "killed"
        before, process = time.monotonic(), start(whole)
        while not (whole / "checkpoints" / str(SETTINGS["checkpoint_every"])).is_dir() and process.poll() is None:
            time.sleep(0.1)
        first = time.monotonic() - before
        assert process.wait() == 0
        kills, broken = 0, []
        while kills < arguments.kills and time.monotonic() - began < 60 * arguments.minutes:
            process = start(killed)
            # Some fall before the first step of a start, some between, some while a checkpoint is written.
            time.sleep(chance.uniform(0.1, 1.0) * first)
            if process.poll() is None:
                process.kill()
                kills += 1
            elif process.returncode:
                broken.append(process.stderr.read()[-300:])
            process.communicate()
            steps = [int(path.name) for path in (killed / "checkpoints").glob("*") if path.name.isdigit()]
            print(f"kill {kills}: last whole checkpoint {max(steps, default=0)}", flush=True)
            if max(steps, default=0) == SETTINGS["steps"]:
                break
        assert start(killed).wait() == 0
        (state, losses), (wanted, wanted_losses) = outcome(killed), outcome(whole)
        same = all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(wanted), strict=True))
        print(f"{kills} kills, {len(broken)} starts that failed{': ' if broken else ''}{' | '.join(broken)}")
        print(f"parameters, averages and optimiser's state the same bit for bit: {same}")
        print(f"losses the same: {losses == wanted_losses} ({len(losses)} rows)")


if __name__ == "__main__":
    main()
