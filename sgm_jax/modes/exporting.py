"""A trained model as files of their own: the network with a card, and the sampler that needs JAX alone."""

import dataclasses
import json
import pathlib
from typing import Any

from sgm_jax import fitted
from sgm_jax.convert import Pretrained, card
from sgm_jax.convert.pretrained import FILE
from sgm_jax.experiment import Experiment
from sgm_jax.serving import FILE as SAMPLER
from sgm_jax.serving import CompiledSampler
from sgm_jax.stored import checkpoint_store, find, trained
from sgm_jax.training import Checkpoints, read_metrics
from sgm_jax.version import __version__


def export(experiment: Experiment, workdir: pathlib.Path) -> int:
    """Write the network as `model.safetensors` with a card and, for fixed steps, its sampler as `sampler.jax_export`.

    The card tells of the data, the training, and all figures that modes have left in `workdir`. The sampler is the
    config's `sampling` section, for the platforms that it names; none if it names none.
    """
    network = find(experiment.config, workdir)
    experiment, params = trained(experiment, workdir)
    if network is None:
        network = Pretrained.from_experiment(experiment, params)
        network = dataclasses.replace(network, card=network.card | history(experiment, workdir))
    network = dataclasses.replace(network, card=network.card | figures(workdir))
    network.save(workdir / FILE)
    print(f"network in {workdir / FILE}, card in {card.write(network, workdir / FILE)}")
    section = experiment.config.sampling
    if section.steps is not None and section.platforms:
        (workdir / SAMPLER).write_bytes(sampler(experiment, workdir, params).export(section.platforms))
        print(f"sampler in {workdir / SAMPLER}")
    return 0


def sampler(experiment: Experiment, workdir: pathlib.Path, params: Any) -> CompiledSampler:
    """Return the sampler of the config's `sampling` section, in batches of its `batch_size`."""
    section = experiment.config.sampling
    return CompiledSampler(
        experiment.process,
        params,
        experiment.dataset.shape,
        experiment.scaling,
        None if section.label is None else experiment.num_classes,
        section.batch_size,
        options=fitted.sampler(experiment, workdir),
    )


def history(experiment: Experiment, workdir: pathlib.Path) -> dict[str, Any]:
    """Return for a card what a network was trained on, and how."""
    config, dataset = experiment.config, experiment.dataset
    with Checkpoints(checkpoint_store(config, workdir)) as checkpoints:
        step = checkpoints.latest
    rows = [row for row in read_metrics(workdir / "metrics.jsonl") if row["step"] <= (step or 0)]
    losses = {name: row[name] for row in rows for name in ("loss", "eval_loss") if name in row}
    data = {"training examples": len(dataset.train), "held-out examples": len(dataset.test)}
    data |= {name: config.data[name] for name in ("path", "dataset", "category") if config.data[name] is not None}
    training = {
        "objective": f"{config.objective}, {config.matching.name} matching, weighting {config.weighting.name}",
        "steps": step,
        "batch size": config.train.batch_size,
        "optimizer": f"{config.optimizer.name}, learning rate {config.optimizer.learning_rate:g}, "
        f"{config.optimizer.schedule} after {config.optimizer.warmup} steps",
        "average": f"rate {config.train.ema_rate:g}",
        "augmentation": config.train.augmentation,
        "sgm_jax": __version__,
    }
    return {"data set": {"name": dataset.name} | data, "training": training | losses}


def figures(workdir: pathlib.Path) -> dict[str, Any]:
    """Return for a card the single numbers of all measurements in a run's folder."""
    found = {}
    for name in ("likelihood", "quality", "evaluation"):
        file = workdir / f"{name}.json"
        values = json.loads(file.read_text()) if file.is_file() else {}
        found |= {f"{name}: {key}": value for key, value in values.items() if isinstance(value, int | float | str)}
    return {"figures": found or {"none": "measured by --mode=likelihood and --mode=evaluate before --mode=export"}}
