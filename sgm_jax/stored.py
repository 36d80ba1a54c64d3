"""Networks in the folder of a run: found, or converted from other projects; and whole models of other runs."""

import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from sgm_jax.convert import Pretrained, card, load
from sgm_jax.convert.pretrained import FILE
from sgm_jax.convert.shipped import names, pretrained
from sgm_jax.experiment import Experiment
from sgm_jax.training import Checkpoints, Snapshots


def parameters(experiment: Experiment, workdir: pathlib.Path, step: int | None = None) -> Any:
    """Return the averaged parameters of a checkpoint in `workdir`, or those of a stored network.

    Args:
        experiment: what was trained.
        workdir: the run's folder.
        step: of the checkpoint; `sampling.checkpoint` unless given, or the newest.
    """
    return _parameters(experiment, workdir, step, find(experiment.config, workdir))


def checkpoint_steps(config: ConfigDict, workdir: pathlib.Path) -> list[int | None]:
    """Return the steps of all checkpoints in `workdir`, from the oldest; `[None]` for a stored network.

    Raises:
        FileNotFoundError: if there is neither.
    """
    if find(config, workdir) is not None:
        return [None]
    with Checkpoints(checkpoint_store(config, workdir)) as checkpoints:
        if not checkpoints.steps:
            raise FileNotFoundError(f"no checkpoint in {workdir}")
        return list(checkpoints.steps)


def trained(experiment: Experiment, workdir: pathlib.Path, step: int | None = None) -> tuple[Experiment, Any]:
    """Return the experiment with all that training changed, and the network's parameters: what modes work with."""
    network = find(experiment.config, workdir)
    params = _parameters(experiment, workdir, step, network)
    return experiment.trained(params) if network is None else (experiment, params)


def _parameters(experiment: Experiment, workdir: pathlib.Path, step: int | None, network: Pretrained | None) -> Any:
    section = experiment.config.sampling
    width, step = section.ema_width, section.checkpoint if step is None else step
    if network is not None:
        if width is not None:
            raise ValueError(f"sampling.ema_width needs a training run's folder, got {width} for a stored network")
        return network.params
    shapes, store = jax.eval_shape(experiment.init), checkpoint_store(experiment.config, workdir)
    if width is not None:
        with Snapshots(store) as snapshots:
            params = snapshots.reconstruct(shapes.params, width, step)
    else:
        with Checkpoints(store) as checkpoints:
            params = checkpoints.restore(shapes, step, config=experiment.config.to_dict())[0].ema_params
    # Free to go wherever the data are.
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), params)


def model(
    field: str,
    like: Experiment,
    kind_of: Callable[[ConfigDict], type[Experiment]],
    shared: Sequence[str] = ("SDE", "shape of data", "scaling of data", "number of classes"),
) -> tuple[Experiment, Any]:
    """Return another trained model and its network's parameters.

    Args:
        field: the field of the config that names it, such as "sampling.guide": the folder of a run, or one with
            `model.safetensors`, or a network that comes with the library.
        like: the experiment it is for. What a stored network does not say is taken from its config.
        kind_of: the kind of experiment that a config is of.
        shared: what the two must have in common, names in `described`.

    Raises:
        ValueError: if there is no such model, or it differs in what must be shared.
        FileNotFoundError: if it is not trained.
    """
    section, _, name = field.partition(".")
    given = like.config[section][name]
    folder = pathlib.Path(given)
    config = _config_of(field, given, folder, like)
    kind, network = kind_of(config), find(config, folder)
    other, params = trained(kind.from_config(config) if network is None else kind.from_config(config, network), folder)
    theirs, ours = described(other), described(like)
    for what in shared:
        if not eqx.tree_equal(theirs[what], ours[what]):
            raise ValueError(f"{field} must have the model's {what} {ours[what]}, got {theirs[what]} in {given!r}")
    return other, params


def described(experiment: Experiment) -> dict[str, Any]:
    """Return what a model and another that helps it may have to share."""
    return {
        "SDE": experiment.sde,
        "shape of data": experiment.dataset.shape,
        "scaling of data": experiment.scaling,
        "number of classes": experiment.num_classes or experiment.dataset.num_classes,
    }


def _config_of(field: str, given: str, folder: pathlib.Path, like: Experiment) -> ConfigDict:
    """Return the config that a model was trained with; for a stored network that of the experiment it is for."""
    if (folder / "config.json").is_file():
        config = ConfigDict(json.loads((folder / "config.json").read_text(), object_hook=_with_tuples))
    elif (folder / FILE).is_file() or given in names():
        config = like.config.copy_and_resolve_references()
        config.objective = "score"
        config.pretrained = None if (folder / FILE).is_file() else given
    else:
        raise ValueError(
            f"{field} must be the folder of a trained model, or one of {', '.join(names())}, got {given!r}"
        )
    # How that model itself would be sampled does not matter.
    unguided = {"label": None, "guidance": 1.0, "classifier": None, "guide": None, "guidance_interval": None}
    config.sampling = {**like.config.sampling, **config.sampling, **unguided}
    return config


def _with_tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def checkpoint_store(config: ConfigDict, workdir: pathlib.Path) -> str | pathlib.Path:
    """Return the folder or bucket with a run's checkpoints."""
    return config.train.checkpoints or workdir


def find(config: ConfigDict, workdir: pathlib.Path) -> Pretrained | None:
    """Return the library's own network that `config.pretrained` names, or that of `model.safetensors` in `workdir`.

    Returns:
        The network; None without either, or where there is a checkpoint beside the file.

    Raises:
        ValueError: if the name is unknown, or the file cannot be used.
    """
    if config.pretrained:
        return pretrained(config.pretrained)
    if not (workdir / FILE).is_file():
        return None
    with Checkpoints(checkpoint_store(config, workdir)) as checkpoints:
        return None if checkpoints.latest is not None else Pretrained.load(workdir / FILE)


def convert(source: str, format: str | None, config: str | None, workdir: pathlib.Path) -> int:
    """Write another project's checkpoint as `model.safetensors`; returns the exit code.

    Raises:
        ValueError: if the checkpoint cannot be converted, or `workdir` has a checkpoint of its own.
    """
    with Checkpoints(workdir) as checkpoints:
        if checkpoints.latest is not None:
            raise ValueError(
                f"workdir {str(workdir)!r} must not have a checkpoint of its own, got step {checkpoints.latest}"
            )
    converted = load(source, format, config)
    converted.save(workdir / FILE)
    print(f"{source} converted to {workdir / FILE}, card in {card.write(converted, workdir / FILE)}")
    return 0
