"""What checkpoints and input cost: `python -m benchmarks.checkpointing [steps]`.

Trains the MNIST config for a few hundred steps, by turns with a checkpoint every 100 steps and without any, in one
process; prints how much longer a step takes with checkpoints, written in the background, and the share of the time that
steps wait for their input.
"""

import pathlib
import statistics
import sys
import tempfile

from benchmarks import tables
from configs.mnist import get_config
from sgm_jax import modes
from sgm_jax.experiment import Experiment
from sgm_jax.training import read_metrics

BLOCK = 100


def rates(steps: int, checkpoint_every: int) -> list[dict]:
    """Return the rows of the metrics, one a block, without the first, which holds the compilation."""
    config = get_config()
    config.train.update(steps=steps, log_every=BLOCK, eval_every=0, checkpoint_every=checkpoint_every)
    with tempfile.TemporaryDirectory() as folder:
        workdir = pathlib.Path(folder)
        modes.train_to_end(Experiment.from_config(config), workdir)
        return read_metrics(workdir / "metrics.jsonl")[1:]


def main():
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    without, with_them = [], []
    for _ in range(2):
        without += rates(steps, steps)
        with_them += rates(steps, BLOCK)
    seconds = lambda rows: statistics.median(1 / row["steps_per_second"] for row in rows)
    stall = statistics.median(row["checkpoint_share"] for row in with_them)
    waits = statistics.median(row["input_share"] for row in with_them)
    tables.header("a step", "figure")
    tables.row("without checkpoints, ms", f"{1e3 * seconds(without):.1f}")
    tables.row("beside their writing, ms", f"{1e3 * seconds(with_them):.1f}")
    tables.row("share of the time that the loop stands still for them", f"{stall:.2%}")
    tables.row("share that devices wait for input", f"{waits:.2%}")
    tables.row("longer in all", f"{seconds(with_them) / seconds(without) / (1 - stall) - 1:.2%}")


if __name__ == "__main__":
    main()
