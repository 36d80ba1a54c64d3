"""What weighting for likelihood gains in bits per dimension: `python -m benchmarks.weightings --data=digits`.

One network is trained from one seed and for one number of steps by two rules: every noise level weighted alike at times
uniform in the SDE's own (DDPM's loss), and likelihood weighting at times drawn in proportion to it
(configs/scoreflow.py); with `--rules` also likelihood weighting at uniform times. Bits per dimension are of the same
held-out digits, uniformly dequantised; the difference to the first row has its standard error over the digits.

References:
    Song, Durkan, Murray, Ermon, Maximum Likelihood Training of Score-Based Diffusion Models, 2021, table 2.
"""

import argparse
import pathlib
import sys
import tempfile
import time

import numpy as np

from configs.scoreflow import get_config
from sgm_jax import modes, stored
from sgm_jax.experiment import Experiment

VARIANTS = {"digits": "full", "mnist": "mnist"}
RULES = {
    "noise weighting, uniform times": ("noise", "uniform"),
    "likelihood weighting, uniform times": ("likelihood", "uniform"),
    "likelihood weighting, importance-sampled times": ("noise", "log_uniform"),
}


def measure(rule: str, data: str, steps: int, seed: int) -> np.ndarray:
    """Train by one rule and return bits per dimension of each held-out digit."""
    config = get_config(VARIANTS[data])
    config.seed, config.train.steps = seed, steps
    config.weighting.name, config.times.name = RULES[rule]
    config.train.eval_every, config.train.checkpoint_every = 0, steps
    experiment = Experiment.from_config(config)
    with tempfile.TemporaryDirectory() as folder:
        workdir = pathlib.Path(folder)
        if not modes.train_to_end(experiment, workdir).finished:
            sys.exit("interrupted")
        return modes.measure_likelihood(experiment, workdir, stored.parameters(experiment, workdir))["per_example"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=VARIANTS, default="digits")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--rules",
        nargs="+",
        choices=RULES,
        default=["noise weighting, uniform times", "likelihood weighting, importance-sampled times"],
    )
    arguments = parser.parse_args()
    print("| training | bits per dimension | difference | minutes |\n|---|---|---|---|")
    first = None
    for rule in arguments.rules:
        begun = time.perf_counter()
        bits = measure(rule, arguments.data, arguments.steps, arguments.seed)
        first = bits if first is None else first
        error = (bits - first).std(ddof=1) / np.sqrt(len(bits))
        minutes = (time.perf_counter() - begun) / 60
        print(
            f"| {rule} | {bits.mean():.3f} | {(bits - first).mean():+.3f} ± {error:.3f} | {minutes:.1f} |", flush=True
        )


if __name__ == "__main__":
    main()
