"""What a compiled program takes of a device's memory and, at best, of its time."""

import dataclasses
import re

import jax

from sgm_jax.planning import cost, hlo
from sgm_jax.planning.chips import Chip
from sgm_jax.planning.hlo import Number
from sgm_jax.planning.programs import Lowered
from sgm_jax.planning.topology import Topology

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# What libtpu says when the memory does not suffice, of all that is in it or of the temporaries alone.
_USED = re.compile(r"Used ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) hbm")
_TEMPORARIES = re.compile(r"HLO temporaries \(([\d.]+)([KMGT]?)\) exceeds available HBM \(([\d.]+)([KMGT]?)\)")


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on each device.

    Args:
        arguments: what the program is given, by name.
        temporaries: activations, gradients and all else that is needed on the way; None where the compiler gave up
            without saying.
        code: the program itself; None where the compiler gave up, or was not asked for it.
        total: of arguments, results, temporaries and code at the most crowded moment.
        limit: what the device has; None where it is not known.
    """

    arguments: dict[str, Number]
    temporaries: Number | None
    code: Number | None
    total: Number
    limit: Number | None

    @property
    def fits(self) -> bool:
        """Whether the device has that much, as far as is known."""
        return self.limit is None or self.total <= self.limit


@dataclasses.dataclass(frozen=True)
class Roofline:
    """The shortest possible time of a program, in seconds: whatever takes longest hides all else.

    Args:
        compute: for its operations, at the peak of bfloat16 products.
        memory: for the bytes it moves, at the main memory's bandwidth.
        links: for the bytes it sends, at what a chip's links can send together.
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
class Work:
    """What one run of a program does on each device.

    Args:
        flops: operations of products and convolutions, loops counted as often as they run.
        bytes: read from and written to the main memory.
        collectives: messages by kind.
        unbounded: loops whose number of turns is not known, each counted as one turn.
        roofline: its shortest time; None for a device whose figures are not known.
    """

    flops: Number
    bytes: Number
    collectives: dict[str, cost.Messages]
    unbounded: int
    roofline: Roofline | None


@dataclasses.dataclass(frozen=True)
class Measured:
    """One program on the devices of a topology.

    Args:
        batch_size: examples that one run works on, on all devices together.
        memory: on each device.
        work: of each device, None where the compiler found that the memory does not suffice.
    """

    batch_size: int
    memory: Memory
    work: Work | None

    @property
    def seconds(self) -> float | None:
        """Shortest time of a run, None where it is not known."""
        return None if self.work is None or self.work.roofline is None else self.work.roofline.seconds

    @property
    def images_per_second(self) -> float | None:
        """Examples a second at that time."""
        return None if self.seconds is None else self.batch_size / self.seconds


def roofline(flops: Number, moved: Number, sent: Number, chip: Chip) -> Roofline:
    """Return the times that one device takes at a chip's peaks for operations, bytes moved and bytes sent."""
    return Roofline(*(chip.devices * n / peak for n, peak in zip((flops, moved, sent), chip.peaks, strict=True)))


def count(text: str, chip: Chip | None) -> Work:
    """Count what a compiled program does, given its HLO text."""
    program = hlo.read(text)
    flops, moved, collectives = cost.flops(program), cost.moved(program), cost.collectives(program)
    sent = sum(messages.sent for messages in collectives.values())
    best = None if chip is None else roofline(flops, moved, sent, chip)
    return Work(flops, moved, collectives, program.unbounded, best)


def measure(lowered: Lowered, topology: Topology, options: dict[str, str | bool] | None = None) -> Measured:
    """Compile a program and measure it.

    Args:
        lowered: the program, lowered for the topology's devices.
        topology: the devices.
        options: of the compiler.
    """
    try:
        compiled = lowered.program.compile(options)
    except jax.errors.JaxRuntimeError as error:
        memory = exceeded(str(error), lowered.arguments)
        if memory is None:
            raise
        return Measured(lowered.batch_size, memory, None)
    return Measured(lowered.batch_size, *analyse(compiled, lowered.arguments, topology))


def analyse(compiled: jax.stages.Compiled, arguments: dict[str, Number], topology: Topology) -> tuple[Memory, Work]:
    """Return the memory and the work of a compiled program, as `measure`."""
    stats, text = compiled.memory_analysis(), compiled.as_text()
    assert stats is not None and text is not None  # as XLA gives them for all of its devices
    given, returned = stats.argument_size_in_bytes, stats.output_size_in_bytes - stats.alias_size_in_bytes
    temporaries, code = stats.temp_size_in_bytes, stats.generated_code_size_in_bytes
    memory = Memory(arguments, temporaries, code, given + returned + temporaries + code, topology.memory)
    return memory, count(text, topology.chip)


def exceeded(message: str, arguments: dict[str, Number]) -> Memory | None:
    """Return what the compiler's message says of a program that does not fit; None of another message."""
    used, alone = _USED.search(message), _TEMPORARIES.search(message)
    found = used or alone
    if found is None:
        return None
    amount, limit = (float(found[k]) * UNITS[found[k + 1]] for k in (1, 3))
    if used is not None:
        return Memory(arguments, None, None, amount, limit)
    return Memory(arguments, amount, None, amount + sum(arguments.values()), limit)
