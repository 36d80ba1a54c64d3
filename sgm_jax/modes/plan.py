"""What training and sampling will take, before any accelerator is rented."""

import dataclasses
import pathlib

from sgm_jax import planning
from sgm_jax.experiment import Experiment
from sgm_jax.modes.shared import Unsuitable, write_json


def plan(
    experiment: Experiment,
    workdir: pathlib.Path,
    topology: planning.Topology,
    price: float | None = None,
    suggest: bool = False,
    sampler: bool = True,
    code: bool = False,
) -> int:
    """Compile for a topology, print what that takes and write it to `plan.json`; returns the exit code.

    Args:
        experiment: the experiment; its data need not be at hand.
        workdir: the run's folder.
        topology: the devices.
        price: of a chip for an hour.
        suggest: whether to try ways to train instead of planning the config's.
        sampler: whether to compile the sampler too.
        code: whether the programs' own bytes are to count too, for which a TPU's compiler takes much longer.

    Raises:
        Unsuitable: if the topology does not suit the config.
    """
    try:
        if suggest:
            return _suggest(experiment, workdir, topology, code)
        result = planning.plan(experiment, topology, price, sampler, code)
    except ValueError as error:
        raise Unsuitable(str(error)) from error
    write_json(workdir / "plan.json", planning.as_dict(result))
    print(planning.describe(result))
    return 0


def _suggest(experiment: Experiment, workdir: pathlib.Path, topology: planning.Topology, code: bool) -> int:
    found = planning.suggest(experiment, topology, code)
    write_json(
        workdir / "plan.json",
        [{**dataclasses.asdict(choice), **planning.as_dict(program)} for choice, program in found],
    )
    for choice, program in found:
        remat = "" if choice.remat is None else f" --config.network.remat={choice.remat}"
        speed = "" if program.images_per_second is None else f"{program.images_per_second:,.4g} images/s at most, "
        print(
            f"{speed}{program.memory.total / 2**30:.2f} GiB a device: --config.train.batch_size={choice.batch_size} "
            f"--config.train.accumulate={choice.accumulate} --config.parallel.fsdp={choice.fsdp}{remat}"
        )
    if not found:
        raise Unsuitable(f"--topology={topology.name} is too small for this network, however it is trained")
    return 0
