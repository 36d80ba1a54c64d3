"""Where the time of a compiled program goes: the events of a profiler's trace, by kind of operation."""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Iterator

import jax

from sgm_jax.planning.cost import COLLECTIVES, FREE
from sgm_jax.planning.hlo import Instruction, Program

# What a kernel is called after, the first of these that it contains; random bits are made by exclusive ors.
KINDS = {
    "convolution": ("convolution", "__cudnn$conv"),
    "product": ("dot", "__cublas"),
    "collective": COLLECTIVES,
    "random numbers": ("xor", "rng", "rng-bit-generator"),
    "reduction": ("reduce", "reduce-window"),
    "elementwise": ("add", "multiply", "select", "divide", "exponential", "compare", "shift-right-logical"),
    "copy": ("copy", "transpose", "concatenate", "pad", "slice", "dynamic-slice", "dynamic-update-slice", "broadcast"),
}


@dataclasses.dataclass(frozen=True)
class Share:
    """Part of a program's time.

    Args:
        kind: of operations, or "other".
        calls: kernels that ran.
        seconds: what they took, over all threads or streams of one device together.
    """

    kind: str
    calls: int
    seconds: float


def kind_of(instruction: Instruction, program: Program) -> str:
    """Return the kind of a kernel, one of `KINDS` or "other"."""
    inside = [instruction]
    for called in instruction.called if instruction.opcode == "fusion" else ():
        inside += program.computations[called].values()
    opcodes = {i.attribute("custom_call_target").strip('"') or i.opcode.removesuffix("-start") for i in inside}
    for kind, names in KINDS.items():
        if any(
            opcode == name or name.startswith("__") and opcode.startswith(name) for opcode in opcodes for name in names
        ):
            return kind
    return "other"


def kinds(program: Program) -> dict[str, str]:
    """Return the kind of every kernel of a program by its name, with underscores for all but letters and digits."""
    return {
        plain(instruction.name): kind_of(instruction, program)
        for instruction, _, _, fused in program.runs()
        if not fused and instruction.opcode not in FREE
    }


def plain(name: str) -> str:
    """Return the name of a kernel as all profilers write it."""
    return re.sub(r"\W", "_", name.split(" = ")[0].strip("%"))


def shares(trace: pathlib.Path, program: Program) -> list[Share]:
    """Return where the time of a traced program went, the largest part first.

    Args:
        trace: folder that JAX's profiler wrote.
        program: the program that ran, from which kernels get their kinds; others count as "other".
    """
    known, seconds, calls = kinds(program), collections.defaultdict(float), collections.Counter()
    for names, duration in events(trace):
        kind = next((known[name] for name in map(plain, names) if name in known), "other")
        seconds[kind] += duration
        calls[kind] += 1
    return [Share(kind, calls[kind], total) for kind, total in sorted(seconds.items(), key=lambda item: -item[1])]


def events(trace: pathlib.Path) -> Iterator[tuple[list[str], float]]:
    """Yield the names that each kernel of the first device goes by, and its seconds.

    On CPUs, where operations are what threads of the host do, loops and calls are left out: they contain others.
    """
    planes = [p for path in trace.rglob("*.xplane.pb") for p in jax.profiler.ProfileData.from_file(str(path)).planes]
    devices = sorted({plane.name for plane in planes if plane.name.startswith("/device:")})
    for plane in planes:
        if plane.name != (devices[0] if devices else "/host:CPU"):
            continue
        for line in plane.lines:
            if devices and not line.name.startswith(("Stream", "XLA Ops")):
                continue
            for event in line.events:
                operation = dict(event.stats).get("hlo_op")
                if (devices or operation) and not str(operation).startswith(("while", "call", "conditional")):
                    yield [str(operation), event.name], event.duration_ns / 1e9
