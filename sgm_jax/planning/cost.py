"""What a compiled program computes, moves and sends on one device, counted in its HLO text.

Loops count as often as they run, where XLA's own `cost_analysis` counts the body of a loop once.
"""

import collections
import dataclasses
import math
import re

from sgm_jax.planning.hlo import Computation, Instruction, Number, Program

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all", "collective-permute")
# What neither reads nor writes memory of its own: names for other instructions' results, and what contains others.
FREE = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call", "after-all")
FREE += ("partition-id", "replica-id", "opt-barrier")
# Names of the calls that GPUs make products and convolutions by.
LIBRARIES = ("__cublas", "__cudnn$conv")
Shape = tuple[int, ...]
_GROUPS = re.compile(r"replica_groups=(?:\[\d+,(\d+)\]|\{\{([\d,]+)\}|mesh\[([^\]]*)\] \{([^}]*)\})")


@dataclasses.dataclass(frozen=True)
class Messages:
    """Messages between devices.

    Args:
        count: how many.
        bytes: of the results on one device.
        sent: bytes that one device sends, with the best known algorithm (a ring's for reductions).
    """

    count: Number = 0
    bytes: Number = 0
    sent: Number = 0

    def __add__(self, other: "Messages") -> "Messages":
        return Messages(self.count + other.count, self.bytes + other.bytes, self.sent + other.sent)

    def __mul__(self, times: Number) -> "Messages":
        return Messages(self.count * times, self.bytes * times, self.sent * times)


def flops(program: Program) -> Number:
    """Return the operations of products and convolutions, an addition and a multiplication each."""
    return sum(times * operations(i, computation) for i, computation, times, _ in program.runs())


def moved(program: Program) -> Number:
    """Return the bytes that kernels read from and write to the main memory."""
    return sum(times * _moved(program, i, computation) for i, computation, times, fused in program.runs() if not fused)


def collectives(program: Program) -> dict[str, Messages]:
    """Return what devices tell each other, by kind."""
    found: dict[str, Messages] = collections.defaultdict(Messages)
    for instruction, computation, times, _ in program.runs():
        kind = instruction.opcode.removesuffix("-start")
        if kind in COLLECTIVES:
            found[kind] += messages(kind, instruction, computation, program.partitions) * times
    return dict(sorted(found.items()))


def _moved(program: Program, instruction: Instruction, computation: Computation) -> Number:
    opcode = instruction.opcode
    if opcode in FREE or opcode.endswith(("-done", "-update")):
        return 0
    read = [sum(a.far_bytes for a in computation[name].results) for name in instruction.operands]
    written = sum(a.far_bytes for a in instruction.results)
    if opcode == "copy-start":
        # Its results are the copy, the original again, and a handle.
        return read[0] + instruction.results[0].far_bytes
    if opcode == "slice-start":
        return min(read[0], instruction.results[1].bytes) + instruction.results[1].far_bytes
    if opcode.endswith("-start"):
        return 2 * sum(read) if opcode.removesuffix("-start") in COLLECTIVES else 0
    if opcode in ("dynamic-slice", "slice", "gather"):
        return min(read[0], sum(a.bytes for a in instruction.results)) + written
    if opcode == "dynamic-update-slice":
        return read[1] + min(written, sum(a.bytes for a in computation[instruction.operands[1]].results))
    return _fused(program, instruction, read, written) if opcode == "fusion" else sum(read) + written


def _fused(program: Program, instruction: Instruction, read: list[Number], written: Number) -> Number:
    """Return the bytes of a fused kernel: of what it takes a slice of, or writes a slice into, the slice alone."""
    inside = program.computations[instruction.called[0]]
    for parameter in (i for i in inside.values() if i.opcode == "parameter"):
        number, users = int(parameter.operands[0]), [i for i in inside.values() if parameter.name in i.operands]
        if users and all(user.opcode == "dynamic-slice" for user in users):
            read[number] = min(read[number], sum(a.bytes for user in users for a in user.results))
        updates = [user for user in users if user.opcode == "dynamic-update-slice"]
        if users and updates == users and all(user.operands[0] == parameter.name for user in users):
            part = sum(a.bytes for user in users for a in inside[user.operands[1]].results)
            read[number], written = 0, min(written, part)
    return sum(read) + written


def messages(kind: str, instruction: Instruction, computation: Computation, partitions: int) -> Messages:
    """Return what one collective moves: `n` devices sum `b` bytes by sending `2 b (n - 1) / n` each, and so on."""
    given = sum(a.bytes for name in instruction.operands for a in computation[name].results)
    members = group_size(instruction.attributes, partitions)
    share = (members - 1) / members
    received, sent = {
        "all-reduce": (given, 2 * given * share),
        "all-gather": (given * members, given * (members - 1)),
        "reduce-scatter": (given / members, given * share),
        "collective-permute": (given, given),
    }.get(kind, (given, given * share))
    return Messages(1, received, sent)


def group_size(attributes: str, partitions: int) -> int:
    """Return how many devices take part in a collective; all of them where no groups are named.

    Groups are lists `{{0,1},{2,3}}`, an array of devices `[groups,members]<=...`, or axes of a mesh,
    `mesh['x'=2,'y'=4] {'y'}`, with `'y':(1)2` for a part of an axis.
    """
    found = _GROUPS.search(attributes)
    if found is None:
        return partitions
    members, listed, mesh, axes = found.groups()
    if members or listed:
        return int(members) if members else listed.count(",") + 1
    sizes = dict(re.findall(r"'(\w+)'=(\d+)", mesh))
    return math.prod(int(part or sizes[axis]) for axis, part in re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", axes))


def operations(instruction: Instruction, computation: Computation) -> Number:
    """Return twice the multiplications of a product or a convolution, 0 for all else.

    Multiplications with padding, and with the zeros that a dilated input is filled up with, are left out. On GPUs
    they are calls of cuDNN and cuBLAS.
    """
    result = instruction.results[0].shape if instruction.results else ()
    call = instruction.attribute("custom_call_target")
    kind = call.strip('"') or instruction.opcode
    if kind != "dot" and kind != "convolution" and not kind.startswith(LIBRARIES):
        return 0
    left, right = (computation[name].results[0].shape for name in instruction.operands[:2])
    if kind.startswith("__cublas"):
        summed = re.findall(r'"lhs_contracting_dimensions":\[([^\]]*)\]', instruction.attributes)[0]
    elif kind == "dot":
        summed = instruction.attribute("lhs_contracting_dims")
    elif kind == "__cudnn$convBackwardInput":
        return _convolution(instruction, result, right, left)
    elif kind == "__cudnn$convBackwardFilter":
        return _convolution(instruction, left, result, right)
    else:
        return _convolution(instruction, left, right, result)
    return 2 * math.prod(result) * math.prod(left[int(axis)] for axis in re.findall(r"\d+", summed))


def _convolution(instruction: Instruction, image: Shape, window: Shape, outcome: Shape) -> Number:
    """Return the operations of a convolution of an image with a window, whichever of the three is its result."""
    inputs, kernel, outputs = re.split("_|->", instruction.attribute("dim_labels"))
    how = dict(re.findall(r"(\w+)=([\dx_\-]+)", instruction.attribute("window")))
    total = 2 * window[kernel.index("i")] * outcome[outputs.index("b")] * outcome[outputs.index("f")]
    for axis in range(len(outputs) - 2):
        place = str(axis)
        total *= _taps(how, axis, image[inputs.index(place)], outcome[outputs.index(place)])
    return total / int(instruction.attribute("batch_group_count") or 1)


def _taps(window: dict[str, str], axis: int, size: int, outputs: int) -> int:
    """Count the pairs of an output and a tap of the window along one axis that meet a number of the input."""

    def value(name: str, default: int) -> int:
        return int(window[name].split("x")[axis]) if name in window else default

    width, stride, spread, dilation = (value(name, 1) for name in ("size", "stride", "lhs_dilate", "rhs_dilate"))
    low = int(window["pad"].split("x")[axis].split("_")[0]) if "pad" in window else 0
    places = (output * stride + tap * dilation - low for output in range(outputs) for tap in range(width))
    return sum(place % spread == 0 and 0 <= place // spread < size for place in places)
