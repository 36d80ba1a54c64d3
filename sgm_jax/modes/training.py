"""Training."""

import dataclasses
import functools
import pathlib

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sgm_jax import data as datasets
from sgm_jax.experiment import Experiment
from sgm_jax.meshes import make_mesh, rows, spread
from sgm_jax.modes.shared import HELD_OUT, Unsuitable, held_out_batch, stream, write_json
from sgm_jax.planning import cost, hlo
from sgm_jax.planning.chips import chip_of
from sgm_jax.training import Batches, Outcome, Watch, exit_code, parallel
from sgm_jax.training import train as train_loop


def train(experiment: Experiment, workdir: pathlib.Path) -> int:
    """Train, or go on from the newest checkpoint; returns the exit code."""
    return exit_code(train_to_end(experiment, workdir))


def train_to_end(experiment: Experiment, workdir: pathlib.Path) -> Outcome:
    """Train on the devices of all hosts, to the end or until asked to stop.

    Raises:
        Unsuitable: if the config's `parallel` section does not fit the devices or the batch, the batch does not fit
            the data, or what is made before training was made otherwise.
    """
    experiment, config = experiment.prepared(workdir), experiment.config
    first_host, mesh = jax.process_index() == 0, training_mesh(config)
    if first_host:
        write_json(workdir / "config.json", config.to_dict())
    batches = training_batches(experiment, mesh)
    held_out = spread(held_out_batch(experiment, config.train.eval_examples), mesh)
    # The same noise and times at every evaluation, so that the curve shows the network alone.
    held_out_loss = jax.jit(
        lambda params, batch: experiment.held_out_loss(stream(experiment, HELD_OUT), params, batch).mean()
    )
    program = parallel.PROGRAMS[config.parallel.mode]
    outcome = train_loop(
        experiment.train_step(),
        experiment.init,
        batches,
        experiment.schedule,
        workdir,
        evaluate=lambda state: held_out_loss(state.ema_params, held_out),
        learning_rate=experiment.learning_rate,
        config=config.to_dict(),
        widths=tuple(config.train.posthoc),
        safeguards=experiment.safeguards,
        watch=watched(experiment.watch),
        checkpoints_in=config.train.checkpoints,
        compile=functools.partial(program, mesh=mesh, steps=config.parallel.steps_per_dispatch),
    )
    if first_host and not outcome.finished:
        print(f"stopped at step {int(outcome.state.step)}, checkpoint saved; the same command goes on from here")
    return outcome


def watched(watch: Watch) -> Watch:
    """Return how a run is watched on the attached devices: with their peak, where it is known."""
    chip = chip_of(jax.devices()[0].device_kind)
    if chip is None:
        return watch
    count = lambda compiled: cost.flops(hlo.read(compiled.as_text()))
    return dataclasses.replace(watch, peak_flops=chip.flops / chip.devices, count_flops=count)


def training_batches(experiment: Experiment, mesh: Mesh) -> Batches:
    """Return this host's part of the training batches; nothing is read yet.

    Raises:
        Unsuitable: if there are fewer examples than a batch has, or the config's `data` section is out of range.
    """
    config = experiment.config
    try:
        return datasets.training_batches(
            experiment.dataset.train,
            config.train.batch_size,
            seed=config.seed,
            rows=parallel.host_rows(mesh, config.train.batch_size),
            workers=config.data.workers,
            prefetch=config.data.prefetch,
        )
    except ValueError as error:
        raise Unsuitable(str(error)) from error


def training_mesh(config: ConfigDict) -> Mesh:
    """Return the mesh that the config's `parallel` section makes of all devices.

    Raises:
        Unsuitable: if it does not fit them, or they do not divide the batch.
    """
    section, train = config.parallel, config.train
    try:
        mesh = make_mesh(section.data, section.fsdp, section.model)
        parallel.check_batch(train.batch_size, train.accumulate, rows(mesh))
    except ValueError as error:
        raise Unsuitable(str(error)) from error
    return mesh
