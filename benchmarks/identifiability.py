"""Whether two trainings find the same code: `python -m benchmarks.identifiability`.

The code of an image is where the probability flow carries it. The flow follows from the densities of the noisy data
alone, so two models of the same data must agree in it, whatever their seeds. Two networks are trained on 8x8 digits
from different seeds, and one on each half of the digits; printed is the correlation between the codes of held-out
digits, over all their numbers, and the root mean square difference beside that of the codes of different digits.

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, appendix D.5.
"""

import argparse
import dataclasses
import pathlib
import sys
import tempfile

import jax.numpy as jnp
import numpy as np

import sgm_jax as sgm
from configs.scoreflow import get_config
from sgm_jax import modes, sampling, stored
from sgm_jax.data import ArraySource
from sgm_jax.experiment import Experiment

# Two models each: a seed and a part of the training data.
PAIRS = {
    "all digits, two seeds": ((0, slice(None)), (1, slice(None))),
    "two halves of the digits": ((0, slice(0, None, 2)), (1, slice(1, None, 2))),
}


def codes(seed: int, part: slice, steps: int) -> np.ndarray:
    """Train with a seed on a part of the digits and return the codes [n, d] of the held-out ones."""
    config = get_config()
    config.seed, config.train.steps = seed, steps
    config.train.eval_every, config.train.checkpoint_every = 0, steps
    experiment = Experiment.from_config(config)
    whole = experiment.dataset
    train = ArraySource(whole.train.x[part], whole.train.label[part])
    experiment = dataclasses.replace(experiment, dataset=dataclasses.replace(whole, train=train))
    with tempfile.TemporaryDirectory() as folder:
        if not modes.train_to_end(experiment, pathlib.Path(folder)).finished:
            sys.exit("interrupted")
        params = stored.parameters(experiment, pathlib.Path(folder))
    x = experiment.scaling.to_model(jnp.asarray(modes.held_out_batch(experiment, 100)["x"]))
    chart = sampling.Angle(config.likelihood.data_scale)
    latent = sgm.encode(experiment.sde, experiment.score_fn(params), x, chart=chart, rtol=1e-4, atol=1e-4)
    return np.asarray(latent).reshape(len(x), -1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS))
    arguments = parser.parse_args()
    print("| models | correlation | difference | difference between digits |\n|---|---|---|---|", flush=True)
    rms = lambda x: np.sqrt(np.mean(np.square(x)))
    for pair in arguments.pairs:
        one, other = (codes(*model, arguments.steps) for model in PAIRS[pair])
        correlation, apart = np.corrcoef(one.ravel(), other.ravel())[0, 1], rms(one - np.roll(one, 1, axis=0))
        print(f"| {pair} | {correlation:.3f} | {rms(one - other):.3f} | {apart:.3f} |", flush=True)


if __name__ == "__main__":
    main()
