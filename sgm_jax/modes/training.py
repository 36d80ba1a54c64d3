"""Training."""

import pathlib

import jax

from sgm_jax import data as datasets
from sgm_jax.experiment import Experiment
from sgm_jax.modes.shared import HELD_OUT, held_out_batch, stream, write_json
from sgm_jax.training import train as train_loop


def train(experiment: Experiment, workdir: pathlib.Path) -> int:
    """Train, or go on from the newest checkpoint; returns the exit code."""
    return 0 if train_to_end(experiment, workdir) else 1


def train_to_end(experiment: Experiment, workdir: pathlib.Path) -> bool:
    """Train; returns whether all steps were made."""
    config = experiment.config
    write_json(workdir / "config.json", config.to_dict())
    batches = datasets.training_batches(
        experiment.dataset.train,
        config.train.batch_size,
        seed=config.seed,
        workers=config.data.workers,
        prefetch=config.data.prefetch,
    )
    held_out = held_out_batch(experiment, config.train.eval_examples)
    # The same noise and times at every evaluation, so that the curve shows the network alone.
    held_out_loss = jax.jit(
        lambda params: experiment.held_out_loss(stream(experiment, HELD_OUT), params, held_out).mean()
    )
    outcome = train_loop(
        experiment.train_step(),
        jax.jit(experiment.init),
        batches,
        experiment.schedule,
        workdir,
        evaluate=lambda state: held_out_loss(state.ema_params),
        learning_rate=experiment.learning_rate,
        config=config.to_dict(),
        keep=config.train.keep,
    )
    if not outcome.finished:
        print(f"stopped at step {int(outcome.state.step)}, checkpoint saved; the same command goes on from here")
    return outcome.finished
