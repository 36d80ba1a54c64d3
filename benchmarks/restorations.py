"""Restorations by task and method: `python -m benchmarks.restorations [--config=FILE] [--workdir=FOLDER] [tasks ...]`.

Measures held-out images and restores them, by default the shipped digits; prints peak signal-to-noise ratio and
structural similarity of the mean of the draws, the share of true pixels within the 90 % credible interval of the draws
(`--draws 16` or more, for the interval to be one), evaluations and seconds (compilation included) by task and method.
CT and MRI want a trained model of phantoms: `--config=configs/phantoms.py --workdir=runs/phantoms ct mri`;
colourisation one of photographs: `--config=configs/photographs.py --workdir=runs/photographs colorize`.
"""

import argparse
import importlib
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from configs.pretrained import get_config as get_pretrained
from sgm_jax import evaluation, inverse, stored
from sgm_jax.experiment import Experiment
from sgm_jax.modes.inverse import compare, images, restore
from sgm_jax.modes.shared import INVERSE, stream
from sgm_jax.tasks import make_problem, measure

TASKS = {
    "inpaint": dict(mask="box"),
    "super_resolution": dict(factor=4, noise_std=0.05),
    "deblur": dict(noise_std=0.05),
    "compressed_sensing": dict(share=0.25, noise_std=0.05),
    "colorize": {},
    "ct": dict(angles=23),
    "mri": dict(acceleration=8.0),
    "mri, radial": dict(task="mri", acceleration=8.0, lines="radial"),
}
METHODS = {
    "projection": {},
    "dps": {},
    "pigdm": dict(prior_std=0.5),
    "pigdm, published": dict(method="pigdm"),
    "ddrm": {},
    "ddnm_plus": {},
    "diffpir": {},
    "twisted": dict(prior_std=0.5),
}
TV_WEIGHTS = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
CREDIBILITY = 0.9
OPEN = 0.01  # pixels count as open where draws deviate by more than this share of the range


def total_variation(experiment):
    """Return figures of total-variation reconstruction, with the best of some weights for each image."""
    section = experiment.config.inverse
    operator_key, noise_key, _ = jax.random.split(stream(experiment, INVERSE), 3)
    operator, _ = make_problem(operator_key, section, experiment.dataset.shape)
    original, _ = images(experiment)
    y = measure(noise_key, operator, experiment.scaling.to_model(jnp.asarray(original)))
    scale = float(inverse.operator_norm(operator)) ** 2
    best = []
    for weight in TV_WEIGHTS:
        x = jax.lax.map(lambda y, weight=weight: inverse.total_variation(operator, y, weight * scale), y)
        best.append(compare(experiment, original, np.asarray(experiment.scaling.to_raw(x))))
    return {name: float(np.max([b[name] for b in best], 0).mean()) for name in ("psnr", "ssim")}


def covered(experiment, result):
    """Return the share of true pixels within the draws' credible interval, of those left open by the measurement."""
    levels = experiment.scaling.levels or experiment.scaling.high - experiment.scaling.low
    left_open = result["std"] > OPEN * levels
    truth, draws = result["original"][left_open], np.moveaxis(result["restored"], 1, 0)[:, left_open]
    shares = evaluation.coverage(jnp.asarray(truth, float), jnp.asarray(draws, float), jnp.array([CREDIBILITY]))
    return float(shares[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default=None)
    parser.add_argument("--workdir", default="runs/restorations")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=METHODS)
    parser.add_argument("tasks", nargs="*", default=["inpaint", "super_resolution", "deblur", "compressed_sensing"])
    arguments = parser.parse_args()
    workdir = pathlib.Path(arguments.workdir)
    if arguments.config is None:
        config = get_pretrained("mnist")
    else:
        module = ".".join(pathlib.Path(arguments.config).with_suffix("").parts)
        config = importlib.import_module(module).get_config()
    config.inverse.update(count=arguments.count, draws=arguments.draws, steps=arguments.steps)
    empty = config.inverse.copy_and_resolve_references()
    print(
        "| task | method | PSNR, dB | SSIM | covered by 90 % | evaluations | seconds |\n|---|---|---|---|---|---|---|"
    )
    for task in arguments.tasks:
        for index, (method, options) in enumerate((m, METHODS[m]) for m in arguments.methods):
            config.inverse = empty.copy_and_resolve_references()
            config.inverse.update({"task": task, "method": method} | TASKS[task] | options)
            experiment = Experiment.from_config(config, stored.find(config, workdir))
            params = stored.parameters(experiment, workdir)
            result = restore(experiment, params)
            s = result["summary"]
            if not index:
                print(f"| {task} | measured | {s['measured_psnr']:.2f} | {s['measured_ssim']:.3f} | | | |", flush=True)
                tv = total_variation(experiment)
                print(f"| | total variation | {tv['psnr']:.2f} | {tv['ssim']:.3f} | | | |", flush=True)
            row = f"{s['mean_psnr']:.2f} | {s['mean_ssim']:.3f} | {covered(experiment, result):.0%}"
            print(f"| | {method} | {row} | {s['evaluations']} | {s['seconds']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
