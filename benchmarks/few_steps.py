"""Fréchet distances of digits drawn in one to eight steps: `python -m benchmarks.few_steps`.

After `python launch.py --config=configs/progressive.py` and `python launch.py --config=configs/reflow.py`. Beside the
students stands their teacher, the network that comes with the library, in as many steps of DDIM, guided. 500 samples,
50 of each class, in the features that `--mode=evaluate` judges by.
"""

import argparse
import importlib
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from sgm_jax import modes, stored
from sgm_jax.run import OBJECTIVES

STEPS = (1, 2, 4, 8)


def get_config(name, steps):
    """Return the config under which the model called `name` is sampled in so many steps."""
    if name == "teacher":
        config = importlib.import_module("configs.pretrained").get_config("mnist")
        config.sampling.update(dict(solver="ddim", to_zero=True, final="none", steps=steps, s_min=0.02))
    else:
        config = importlib.import_module(f"configs.{name}").get_config()
    if name == "reflow":
        config.sampling.steps = steps
    if name == "progressive":
        rounds, last = config.distillation.rounds, config.sampling.steps
        # The student of so many steps, after as many rounds of equal length as it takes to get there.
        done = rounds - (steps // last).bit_length() + 1
        config.sampling.checkpoint = done * config.train.steps // rounds
    config.sampling.count = 500
    return config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs"))
    parser.add_argument("--models", nargs="+", default=["teacher", "progressive", "reflow"])
    arguments = parser.parse_args()
    judge = None
    print("| model, in steps | " + " | ".join(map(str, STEPS)) + " |\n|---|" + "---|" * len(STEPS))
    for name in arguments.models:
        cells = []
        for steps in STEPS:
            config, workdir = get_config(name, steps), arguments.runs / name
            network = stored.find(config, workdir)
            kind = OBJECTIVES[config.objective][0]
            experiment = kind.from_config(config) if network is None else kind.from_config(config, network)
            judge = modes.train_judge(experiment) if judge is None else judge
            experiment, params = stored.trained(experiment, workdir)
            found = modes.measure_quality(experiment, modes.draw(experiment, workdir, params, 500), judge)
            cells.append(f"{found['frechet']:.1f} ({found['class_accuracy']:.0%})")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    print(f"\nFréchet distance, and share of the class asked for; held-out digits {found['frechet_floor']:.2f}")


if __name__ == "__main__":
    main()
