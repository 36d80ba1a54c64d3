"""Networks in the folder of a run: found, converted from other projects, exported."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from sgm_jax.convert import Pretrained, load
from sgm_jax.convert.pretrained import FILE
from sgm_jax.convert.shipped import pretrained
from sgm_jax.experiment import Experiment
from sgm_jax.training import Checkpoints


def parameters(experiment: Experiment, workdir: pathlib.Path) -> Any:
    """Return the averaged parameters of the newest checkpoint in `workdir`, or those of a stored network."""
    network = find(experiment.config, workdir)
    if network is not None:
        return network.params
    with Checkpoints(workdir) as checkpoints:
        params = checkpoints.restore(jax.eval_shape(experiment.init))[0].ema_params
    # Free to go wherever the data are.
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), params)


def trained(experiment: Experiment, workdir: pathlib.Path) -> tuple[Experiment, Any]:
    """Return the experiment with all that training changed, and the network's parameters: what modes work with."""
    params = parameters(experiment, workdir)
    return (experiment, params) if find(experiment.config, workdir) is not None else experiment.trained(params)


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
    with Checkpoints(workdir) as checkpoints:
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
    load(source, format, config).save(workdir / FILE)
    print(f"{source} converted to {workdir / FILE}")
    return 0


def export(experiment: Experiment, workdir: pathlib.Path) -> int:
    """Write the averaged parameters, with all that is needed to use them, as `model.safetensors`."""
    Pretrained.from_experiment(*trained(experiment, workdir)).save(workdir / FILE)
    print(f"network in {workdir / FILE}")
    return 0
