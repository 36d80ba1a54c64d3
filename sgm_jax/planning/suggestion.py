"""Which batch, accumulation, sharding and recomputation to train with: found by trying them."""

import dataclasses
from collections.abc import Iterator

from ml_collections import ConfigDict

from sgm_jax.experiment import Experiment
from sgm_jax.planning.analysis import Measured
from sgm_jax.planning.passes import measured
from sgm_jax.planning.programs import training_step
from sgm_jax.planning.topology import Topology

BATCHES = (1, 2, 4)  # in units of the config's
SLICES = (1, 2, 4, 8)


@dataclasses.dataclass(frozen=True)
class Choice:
    """A way to train.

    Args:
        batch_size: `train.batch_size`.
        accumulate: `train.accumulate`.
        fsdp: `parallel.fsdp`.
        remat: `network.remat`; None where the network has none.
    """

    batch_size: int
    accumulate: int
    fsdp: int
    remat: str | None

    def applied(self, experiment: Experiment) -> Experiment:
        """Return the experiment trained this way, without its data."""
        config = ConfigDict(experiment.config).copy_and_resolve_references()
        with config.unlocked():
            config.train.batch_size, config.train.accumulate = self.batch_size, self.accumulate
            config.parallel.data, config.parallel.fsdp = -1, self.fsdp
            if self.remat is not None:
                config.network.remat = self.remat
        return type(experiment).from_config(config, load=lambda section: experiment.dataset)


def choices(experiment: Experiment, batch_size: int, devices: int) -> Iterator[Choice]:
    """Yield ways to train with this batch, the fastest first: each next one takes less memory and more time."""
    remats = ("none", "block") if hasattr(experiment.network, "remat") else (None,)
    for accumulate in SLICES:
        if batch_size % (devices * accumulate) == 0:
            for remat in remats:
                for fsdp in dict.fromkeys((1, devices)):
                    yield Choice(batch_size, accumulate, fsdp, remat)


def suggest(experiment: Experiment, topology: Topology, code: bool = False) -> list[tuple[Choice, Measured]]:
    """Return, for the config's batch and multiples of it, the first way to train that fits: most images a second first.

    Args:
        experiment: the experiment; its batch is filled up to a multiple of the devices.
        topology: the devices.
        code: whether the program's own bytes are to count too, as in `passes.measured`.
    """
    devices = len(topology.devices) // experiment.config.parallel.model
    least = -(-experiment.config.train.batch_size // devices) * devices
    found = []
    for batch_size in (least * factor for factor in BATCHES):
        for choice in choices(experiment, batch_size, devices):
            program = measured(training_step, choice.applied(experiment), topology, code)
            if program.memory.fits:
                found.append((choice, program))
                break
        else:
            break  # what is larger does not fit either
    return sorted(found, key=lambda pair: -(pair[1].images_per_second or 0))
