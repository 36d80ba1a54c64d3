"""Devices to plan for: those of a TPU slice, described by libtpu with no TPU at hand, or those attached."""

import ctypes
import dataclasses
import importlib.util
import math
import os
import re
from collections.abc import Sequence
from typing import Any

import jax
from jax.experimental import topologies

from sgm_jax.planning.chips import CHIPS, Chip, chip_named, chip_of
from sgm_jax.planning.hlo import Number

ATTACHED = ("cpu", "gpu", "tpu")
# libtpu's names, where they are not ours; v4's two cores work as one device as on Cloud TPU.
LIBTPU = {"v7x": ("tpu7x", {}), "v4": ("v4", {"chip_config_name": "megacore"})}
# libtpu asks the host which TPU it has; here it has none, and several plans may run at once.
ENVIRONMENT = {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
ENVIRONMENT |= {"TPU_ACCELERATOR_TYPE": "v5litepod-4", "TPU_STDERR_LOG_LEVEL": "3", "TPU_MIN_LOG_LEVEL": "3"}
ARENA_MAX = -8  # glibc's M_ARENA_MAX


@dataclasses.dataclass(frozen=True)
class Topology:
    """Where a program is to run.

    Args:
        name: as it was asked for.
        devices: what programs are compiled for; they need not be attached.
        chip: the figures of each chip, None where they are not known.
    """

    name: str
    devices: Sequence[Any]
    chip: Chip | None

    @property
    def chips(self) -> int:
        """Number of chips."""
        return len(self.devices) // (self.chip.devices if self.chip else 1)

    @property
    def memory(self) -> Number | None:
        """Bytes of each device's memory, None where they are not known."""
        if self.chip is not None:
            return self.chip.memory / self.chip.devices
        return (self.devices[0].memory_stats() or {}).get("bytes_limit")


def find(name: str) -> Topology:
    """Return the devices of a topology.

    Args:
        name: a chip and the sizes of its slice along each axis, such as `v5e:16x16` or `v4:8x8x8`; or `cpu`, `gpu` or
            `tpu` for the attached devices.

    Raises:
        ValueError: if the chip or the shape is not one that libtpu knows, libtpu is not installed, or no such device
            is attached.
    """
    if name in ATTACHED:
        return _attached(name)
    kind, _, shape = name.partition(":")
    examples = ", ".join([*(f"{chip.name}:{chip.shape}" for chip in CHIPS if chip.shape), *ATTACHED])
    if not re.fullmatch(r"\w+:[1-9]\d*(x[1-9]\d*)*", name):
        raise ValueError(f"--topology must be a chip with the shape of its slice, such as {examples}, got {name!r}")
    chip = chip_named(kind)
    axes = chip.shape.count("x") + 1
    if shape.count("x") + 1 != axes:
        raise ValueError(f"--topology must have {axes} axes for {kind}, such as {kind}:{chip.shape}, got {name!r}")
    if math.prod(map(int, shape.split("x"))) > chip.pod:
        raise ValueError(f"--topology must have at most the {chip.pod} chips of a {kind} pod, got {name!r}")
    if importlib.util.find_spec("libtpu") is None:
        raise ValueError(
            f"--topology={name} needs libtpu (pip install 'sgm_jax[plan]'), or take one of {', '.join(ATTACHED)}, the "
            "attached device"
        )
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    _share_arenas()
    # libtpu is to compile, not to look for a TPU.
    jax.config.update("jax_platforms", "cpu")
    libtpu, options = LIBTPU.get(kind, (kind, {}))
    try:
        description = topologies.get_topology_desc(platform="tpu", topology_name=f"{libtpu}:{shape}", **options)
    except jax.errors.JaxRuntimeError as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"--topology must be one that libtpu knows, such as {examples}, got {name!r}: {reason}"
        ) from error
    return Topology(name, description.devices, chip)


def _share_arenas() -> None:
    """Let threads allocate from no more places than there are processors to run them: glibc's own arenas hardly shrink.

    With glibc's eight a processor, a plan of FFHQ 1024 on v6e does not fit into 24 GiB. With a single one threads wait
    for each other, and plans take 1.4 times as long.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(ARENA_MAX, len(os.sched_getaffinity(0)))


def _attached(platform: str) -> Topology:
    try:
        devices = jax.devices(platform)
    except RuntimeError as error:
        found = ", ".join(sorted({device.platform for device in jax.devices()}))
        raise ValueError(
            f"--topology must name an attached device ({found}) or a TPU slice, got {platform!r}"
        ) from error
    return Topology(platform, devices, chip_of(devices[0].device_kind))
