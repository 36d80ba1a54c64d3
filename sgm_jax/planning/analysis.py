"""What a compiled program takes of a device's memory and, at best, of its time."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import PyTree

from sgm_jax.planning import cost, hlo
from sgm_jax.planning.chips import Chip

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_USED = re.compile(r"Used ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) hbm")


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on each device.

    Args:
        arguments: what the program is given, by name: for a training step parameters, their average, the optimizer's
            state and the batch.
        temporaries: activations and all else that is needed on the way; None where the compiler gave up.
        code: of the program itself.
        results: what it returns beyond what it puts in the place of its arguments.
        total: of all, at the most crowded moment.
        limit: what the device has for programs; None where it is not known.
    """

    arguments: dict[str, float]
    temporaries: float | None
    code: float | None
    results: float | None
    total: float
    limit: float | None

    @property
    def fits(self) -> bool:
        """Whether the device has that much."""
        return self.limit is None or self.total <= self.limit


@dataclasses.dataclass(frozen=True)
class Roofline:
    """The shortest possible time of a program, in seconds: whatever takes longest hides all else.

    Args:
        compute: at the peak of bfloat16 products.
        memory: at the peak of the main memory's bandwidth.
        links: at the peak of what a chip can send.
    """

    compute: float
    memory: float
    links: float

    @property
    def seconds(self) -> float:
        """The longest of the three."""
        return max(self.compute, self.memory, self.links)

    @property
    def bound(self) -> str:
        """Which of the three it is."""
        return max(("compute", "memory", "links"), key=lambda name: getattr(self, name))


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one run of a program does on each device.

    Args:
        flops: operations of products and convolutions, loops counted as often as they run.
        bytes: read from and written to the main memory.
        collectives: messages by kind.
        unbounded: loops whose number of turns is not known, each counted as one turn.
        roofline: its shortest time; None for a device whose figures are not known.
    """

    flops: float
    bytes: float
    collectives: dict[str, cost.Messages]
    unbounded: int
    roofline: Roofline | None


def roofline(flops: float, moved: float, sent: float, chip: Chip) -> Roofline:
    """Return the times that one device takes at a chip's peaks for operations, bytes moved and bytes sent."""
    share = chip.devices
    return Roofline(flops * share / chip.flops, moved * share / chip.bandwidth, sent * share / chip.link)


def count(text: str, chip: Chip | None) -> Cost:
    """Count what a compiled program does, given its HLO text."""
    program = hlo.read(text)
    flops, moved, collectives = cost.flops(program), cost.moved(program), cost.collectives(program)
    sent = sum(messages.sent for messages in collectives.values())
    times = None if chip is None else roofline(flops, moved, sent, chip)
    return Cost(flops, moved, collectives, program.unbounded, times)


def compile_for(
    function: Callable, arguments: dict[str, PyTree], device: Any, chip: Chip | None
) -> tuple[Memory, Cost | None]:
    """Compile a jitted function and measure the program.

    Args:
        function: the function, with its shardings.
        arguments: shapes of its arguments with their shardings; any grouping into names, in the order of `arrange`.
        device: one of the devices.
        chip: its figures.
    """
    raise NotImplementedError
