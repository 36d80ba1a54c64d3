"""Reading XLA's optimised HLO text: the instructions of a compiled program, and how often each runs."""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator

Number = int | float  # of bytes or operations

BITS = {"pred": 8, "token": 0, "opaque": 0}
# What contains instructions that run as a program does; what a reduction applies to each pair of numbers is no program.
CALLERS = ("fusion", "while", "conditional", "call", "async-start")

_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\](\{[^}]*\})?")
_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_CALLED = re.compile(r"\b(?:calls|to_apply|body|condition|branch_computations)=\{?(%[^,}\s]+(?:, ?%[^,}\s]+)*)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


@dataclasses.dataclass(frozen=True)
class ArrayType:
    """Type, sizes and place of an array.

    Args:
        bits: bits a number.
        shape: sizes.
        near: whether it lives in a memory on the chip rather than in the main one.
    """

    bits: int
    shape: tuple[int, ...]
    near: bool

    @property
    def far_bytes(self) -> Number:
        """Bytes in the main memory."""
        return 0 if self.near else self.bits * math.prod(self.shape) / 8

    @property
    def bytes(self) -> Number:
        """Bytes of the numbers."""
        return self.bits * math.prod(self.shape) / 8


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation: name, opcode, results, operands, attributes as text, and whether it is the result.

    Operands are names of other lines; of a parameter, its number; of a constant, its value.
    """

    name: str
    opcode: str
    results: tuple[ArrayType, ...]
    operands: tuple[str, ...]
    attributes: str
    root: bool

    @property
    def called(self) -> list[str]:
        """Names of the computations that it runs."""
        return [name.strip(" %") for group in _CALLED.findall(self.attributes) for name in group.split(",")]

    def attribute(self, name: str) -> str:
        """Return an attribute's text, "" where it is not set."""
        found = re.search(rf"\b{name}=(\{{[^}}]*\}}|[^\s,]+)", self.attributes)
        return found.group(1).strip("{}") if found else ""


Computation = dict[str, Instruction]


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled module.

    Args:
        computations: its computations by name.
        entry: name of the one that is run.
        partitions: number of devices.
    """

    computations: dict[str, Computation]
    entry: str
    partitions: int

    def runs(self) -> Iterator[tuple[Instruction, Computation, Number, bool]]:
        """Yield every instruction with its computation, how often it runs, and whether it is part of a fused kernel.

        A loop whose number of turns is not known counts as one turn, each branch of a conditional as taken.
        """
        yield from self._runs(self.entry, 1, False)

    def _runs(self, name, times, fused):
        computation = self.computations[name]
        for instruction in computation.values():
            yield instruction, computation, times, fused
            if instruction.opcode in CALLERS:
                turns = (self.trips(instruction) or 1) if instruction.opcode == "while" else 1
                for called in instruction.called:
                    yield from self._runs(called, times * turns, fused or instruction.opcode == "fusion")

    def trips(self, loop: Instruction) -> int | None:
        """Return how often a loop runs, None where that is not known.

        Either the compiler says so, or the loop compares a counter with a constant; such counters start at zero and go
        up by one, as those of `jax.lax.scan` and `jax.lax.fori_loop` do.
        """
        known = _TRIPS.search(loop.attributes)
        if known:
            return int(known.group(1))
        condition = self.computations[loop.attribute("condition").lstrip("%")]
        test = next(i for i in condition.values() if i.root)
        if test.opcode != "compare" or test.attribute("direction") != "LT":
            return None
        counter, limit = (condition[name] for name in test.operands)
        return int(limit.operands[0]) if (counter.opcode, limit.opcode) == ("get-tuple-element", "constant") else None

    @functools.cached_property
    def unbounded(self) -> int:
        """Number of loops that run an unknown number of times; each is counted as one turn."""
        return sum(i.opcode == "while" and self.trips(i) is None for i, *_ in self.runs())


def read(text: str) -> Program:
    """Read a compiled module's text, as `compiled.as_text()` gives it."""
    computations, entry, current = {}, "", None
    for line in text.splitlines():
        header = _HEADER.match(line)
        if header:
            current = computations[header.group(2)] = {}
            entry = header.group(2) if header.group(1) else entry
        elif current is not None and line.startswith("  ") and " = " in line:
            instruction = _instruction(line.strip())
            current[instruction.name] = instruction
    partitions = re.search(r"num_partitions=(\d+)", text)
    return Program(computations, entry, int(partitions.group(1)) if partitions else 1)


def _instruction(line: str) -> Instruction:
    name, rest = line.removeprefix("ROOT ").split(" = ", 1)
    end = _closing(rest, 0) + 1 if rest.startswith("(") else rest.index(" ")
    opening = rest.index("(", end)
    closing = _closing(rest, opening)
    opcode, inside = rest[end:opening].strip(), rest[opening + 1 : closing]
    operands = (inside,) if opcode in ("parameter", "constant") else tuple(re.findall(r"%([\w.\-]+)", inside))
    root = line.startswith("ROOT ")
    return Instruction(name.lstrip("%"), opcode, _arrays(rest[:end]), operands, rest[closing + 1 :], root)


def _closing(text: str, opening: int) -> int:
    """Return where the parenthesis that opens at `opening` closes, the end of the text if it does not."""
    depth = 0
    for place in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return place
    return len(text)


def _arrays(text: str) -> tuple[ArrayType, ...]:
    found = []
    for kind, shape, layout in _ARRAY.findall(text):
        digits = re.search(r"\d+", kind)
        bits = BITS.get(kind, int(digits.group()) if digits else 8)
        found.append(
            ArrayType(bits, tuple(int(n) for n in shape.split(",") if n), bool(re.search(r"S\([1-9]", layout)))
        )
    return tuple(found)
