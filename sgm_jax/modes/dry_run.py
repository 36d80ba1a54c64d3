"""What a mode would do, and how large that is, found without doing it."""

import dataclasses
import math
import pathlib
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
from etils import epath
from ml_collections import ConfigDict

from sgm_jax import data as datasets
from sgm_jax.components import describe_data, load_data
from sgm_jax.convert import Pretrained
from sgm_jax.convert.pretrained import FILE
from sgm_jax.convert.shipped import pretrained
from sgm_jax.experiment import Experiment
from sgm_jax.modes.preparation import sizes, with_sizes
from sgm_jax.modes.training import training_batches, training_mesh
from sgm_jax.planning import programs
from sgm_jax.stored import checkpoint_store
from sgm_jax.training import parallel, read_metrics

TRAINING = ("run", "train")
DRAWING = ("run", "sample", "evaluate", "reproduce", "guidance", "samplers", "fit")
MEASURING = ("evaluate", "reproduce")
PRODUCT = {"cpu": 1024}  # height of the matrices whose product is timed, 8192 on accelerators
REPEATS = 5


def dry_run(
    mode: str,
    config: ConfigDict,
    workdir: pathlib.Path,
    kind: type[Experiment],
    attach: Callable[[Experiment], Experiment] = lambda experiment: experiment,
) -> dict[str, str]:
    """Describe what a mode would do: data, network, memory, steps and, of training, the time or a lower bound on it.

    Nothing is written, and no program compiled but one product of matrices. Data that are not at hand are described.

    Args:
        mode: name of the mode.
        config: the config.
        workdir: the run's folder, which need not be there.
        kind: what the config's objective stands for.
        attach: gives an experiment that is to be trained what else it learns from, such as `teachers.attach`.

    Returns:
        Lines to print, by their headings.

    Raises:
        ValueError: as the mode would, for what is wrong with the config or does not fit the devices.
    """
    absent = []

    def load(section):
        try:
            return load_data(section)
        except ValueError as error:
            absent.append(str(error))
            return describe_data(section, config.network.get("num_classes"))

    if mode == "prepare":
        return {"data": _of_data(load(config.data), absent)}
    config = with_sizes(config, sizes(config, workdir))
    step = newest_step(checkpoint_store(config, workdir))
    experiment = kind.from_config(config, _network(mode, config, workdir, step), load)
    if mode in TRAINING:
        experiment = attach(experiment)
    state = jax.eval_shape(experiment.init)
    mesh = training_mesh(config)
    size = programs.bytes_of(state, parallel.state_sharding(mesh, state))
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state.params))
    lines = {
        "data": _of_data(experiment.dataset, absent),
        "network": f"{type(experiment.network).__name__}, {count:,} parameters",
    }
    if mode in TRAINING:
        if not absent and not config.distillation.pairs:  # pairs are made when training starts
            training_batches(experiment, mesh)  # refused as in training
        lines["memory"] = f"{size / 2**20:,.1f} MiB a device for the state; what else a step needs, --mode=plan tells"
        begin = "from the start" if step is None else f"on from step {step:,}"
        lines["training"] = f"{config.train.steps:,} steps of {config.train.batch_size} examples, {begin}"
        lines["time"] = training_time(experiment, workdir, config.train.steps - (step or 0))
    section = config.sampling
    if mode in DRAWING:
        steps = "adaptive" if section.steps is None else section.steps
        count = (config.evaluation.count if mode in MEASURING else None) or section.count
        lines["sampling"] = f"{count:,} samples, {section.batch_size} at a time, {steps} steps of {section.solver}"
    if mode == "reproduce":
        figures = {name: value for name, value in config.published.items() if value is not None}
        lines["published"] = ", ".join(f"{name} {value:g}" for name, value in figures.items()) or "no figure"
    if mode == "likelihood":
        section = config.likelihood
        lines["likelihood"] = f"{section.count or 'all'} examples of {section.split}, {section.batch_size} at a time"
    if mode == "inverse":
        section = config.inverse
        lines["inverse"] = f"{section.count} images, {section.draws} draws each: {section.task} by {section.method}"
    return lines


def newest_step(store: str | pathlib.Path) -> int | None:
    """Return the step of the newest checkpoint in a folder or bucket, None without any; opens and writes nothing."""
    folder = epath.Path(store) / "checkpoints"
    return max((int(path.name) for path in folder.glob("*") if path.name.isdigit()), default=None)


def training_time(experiment: Experiment, workdir: pathlib.Path, steps: int) -> str:
    """Say how long so many steps take: by the rate of the run in `workdir`, or else at least, by what they compute."""
    rates = [row["steps_per_second"] for row in read_metrics(workdir / "metrics.jsonl") if "steps_per_second" in row]
    if rates:
        return f"about {_duration(steps / rates[-1])}, at the {rates[-1]:.3g} steps/s that this run had last"
    # In one slice, as the compiler counts the body of a loop over several once.
    config = experiment.config.copy_and_resolve_references()
    config.train.accumulate = 1
    step = jax.jit(dataclasses.replace(experiment, config=config).train_step())
    batch = experiment.batch_shapes(config.train.batch_size)
    costs = step.lower(jax.eval_shape(experiment.init), batch).cost_analysis()
    assert costs is not None  # before it is compiled, it is the same on all devices
    operations = costs["flops"]
    rate = jax.device_count() * product_rate(experiment.config.network.get("dtype") or "float32")
    return (
        f"at least {_duration(steps * operations / rate)}: {operations / 1e9:,.3g} GFLOP a step, at the "
        f"{rate / 1e9:,.3g} GFLOP/s at which matrices multiply here; the run itself will tell, in metrics.jsonl"
    )


def product_rate(dtype: str) -> float:
    """Measure the operations a second of one device in a large product of matrices, the best of a few."""
    size = PRODUCT.get(jax.default_backend(), 8192)
    matrix = jnp.ones((size, size), dtype)
    multiply = jax.jit(jnp.matmul)
    jax.block_until_ready(multiply(matrix, matrix))
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(multiply(matrix, matrix))
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)


def _network(mode: str, config: ConfigDict, workdir: pathlib.Path, step: int | None) -> Pretrained | None:
    if mode in TRAINING:
        return None
    if config.pretrained:
        return pretrained(config.pretrained)
    return Pretrained.load(workdir / FILE) if step is None and (workdir / FILE).is_file() else None


def _of_data(dataset: datasets.Dataset, absent: list[str]) -> str:
    counts = "" if absent else f"{len(dataset.train):,} and {len(dataset.test):,} held-out "
    classes = f", {dataset.num_classes} classes" if dataset.num_classes else ""
    why = f"; not at hand: {absent[0]}" if absent else ""
    return f"{dataset.name}, {counts}examples of shape {dataset.shape}{classes}{why}"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.2g} s"
