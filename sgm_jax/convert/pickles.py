"""Read pickles as data, with a machine that can neither import nor call what a pickle names.

Python's own unpickler imports and calls whatever a file asks for. This one knows a fixed table of names, each with a
constructor of its own that makes arrays, dicts and plain records; any other name ends the reading.
"""

import dataclasses
import functools
import io
import pickletools
import struct
from collections.abc import Callable, Mapping
from typing import IO, Any, cast

import jax.numpy as jnp
import numpy as np

DAMAGED = (IndexError, KeyError, TypeError, AttributeError, EOFError, OverflowError, RecursionError, struct.error)


@dataclasses.dataclass
class Record:
    """An object of a class that this library does not have.

    Attributes:
        kind: name of the class.
        state: its attributes.
    """

    kind: str
    state: Any = None


@dataclasses.dataclass(frozen=True)
class Global:
    """A name of the table, with what it stands for; the pickle gets hold of this alone."""

    name: str
    value: Any


def tensor(storage: np.ndarray, offset: int, size: tuple, stride: tuple, *_: Any) -> np.ndarray:
    """Return the strided view of a storage [n] that a tensor is.

    Raises:
        ValueError: if it reaches past the storage.
    """
    numbers = (offset, *size, *stride)
    if storage.ndim != 1 or len(size) != len(stride) or any(type(n) is not int or n < 0 for n in numbers):
        raise ValueError(f"tensor of size {size}, stride {stride} and offset {offset} is not one")
    end = offset + 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if all(size) else offset
    if end > storage.size:
        raise ValueError(f"tensor of size {size}, stride {stride} and offset {offset} reaches past {storage.size}")
    return np.lib.stride_tricks.as_strided(storage[offset:], size, [n * storage.itemsize for n in stride])


def _scalar(dtype: np.dtype, data: bytes | str) -> np.generic:
    # Python 2 wrote bytes as strings.
    return np.frombuffer(data if isinstance(data, bytes) else data.encode("latin1"), dtype, 1)[0]


def _persistent_object(meta: dict) -> Record:
    # `meta` also holds the source text of the class, which is left alone.
    return Record(meta["class_name"], meta["state"])


DTYPES = {
    "Double": np.float64,
    "Float": np.float32,
    "Half": np.float16,
    "BFloat16": jnp.bfloat16,
    "Long": np.int64,
    "Int": np.int32,
    "Short": np.int16,
    "Char": np.int8,
    "Byte": np.uint8,
    "Bool": np.bool_,
}
MODULES = ("ModuleDict", "ModuleList", "Sequential")
# What a checkpoint may name: the storage types are values, the others constructors.
TABLE: dict[str, Any] = {
    **{f"torch.{name}Storage": np.dtype(dtype) for name, dtype in DTYPES.items()},
    "torch.storage.UntypedStorage": np.dtype(np.uint8),
    "torch._utils._rebuild_tensor": tensor,
    "torch._utils._rebuild_tensor_v2": tensor,
    "torch._utils._rebuild_parameter": lambda data, requires_grad, hooks: data,
    "torch.Size": tuple,
    "torch.device": lambda *parts: ":".join(str(part) for part in parts),
    **{
        f"torch.nn.modules.container.{name}": functools.partial(Record, f"torch.nn.modules.container.{name}")
        for name in MODULES
    },
    "torch_utils.persistence._reconstruct_persistent_obj": _persistent_object,
    "dnnlib.util.EasyDict": dict,
    "collections.OrderedDict": dict,
    "_codecs.encode": lambda text, encoding: text.encode("latin1"),
    **{f"{module}.multiarray.scalar": _scalar for module in ("numpy.core", "numpy._core")},
    "numpy.dtype": lambda name, *_: np.dtype(name),
    **{f"{module}.set": set for module in ("builtins", "__builtin__")},
}

LITERALS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
LITERALS |= {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
LITERALS |= {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set, "EMPTY_TUPLE": tuple}
COLLECT = {"LIST": list, "TUPLE": tuple, "FROZENSET": frozenset, "DICT": lambda items: dict(_pairs(items))}
MARK = object()


def unpickle(
    stream: io.BufferedIOBase, persistent: Callable | None = None, table: Mapping[str, Any] | None = None
) -> Any:
    """Read one pickle: plain values, arrays and `Record`s, whatever it says.

    Args:
        stream: where it begins; afterwards where it ended.
        persistent: turns a persistent id into what it stands for.
        table: constructors by name, in addition to `TABLE`.

    Raises:
        ValueError: if the pickle names anything else, or is damaged. Nothing of it has been run.
    """
    machine = _Machine(persistent, {**TABLE, **(table or {})})
    try:
        for opcode, argument, _ in pickletools.genops(cast(IO[bytes], stream)):
            machine.step(opcode.name, argument)
        return machine.stack.pop()
    except DAMAGED as error:
        raise ValueError(f"damaged pickle ({type(error).__name__}: {error})") from error


class _Machine:
    """The stack machine that a pickle is a program for."""

    def __init__(self, persistent: Callable | None, table: Mapping[str, Any]):
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.persistent, self.table = persistent, table

    def step(self, opcode: str, argument: Any) -> None:
        """Obey one instruction."""
        stack = self.stack
        match opcode:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case _ if opcode in LITERALS:
                stack.append(argument)
            case _ if opcode in CONSTANTS:
                stack.append(CONSTANTS[opcode])
            case _ if opcode in EMPTY:
                stack.append(EMPTY[opcode]())
            case _ if opcode in COLLECT:
                stack.append(COLLECT[opcode](self.since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "MARK":
                stack.append(MARK)
            case "POP":
                stack.pop()
            case "POP_MARK":
                self.since_mark()
            case "DUP":
                stack.append(stack[-1])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "APPEND" | "APPENDS":
                items = self.items(opcode == "APPENDS", 1)
                _expect(stack[-1], list).extend(items)
            case "SETITEM" | "SETITEMS":
                items = self.items(opcode == "SETITEMS", 2)
                _expect(stack[-1], dict).update(_pairs(items))
            case "ADDITEMS":
                items = self.since_mark()
                _expect(stack[-1], set).update(items)
            case "GLOBAL":
                self.push_global(argument.replace(" ", "."))
            case "STACK_GLOBAL":
                name = stack.pop()
                self.push_global(f"{stack.pop()}.{name}")
            case "REDUCE" | "NEWOBJ":
                arguments = _expect(stack.pop(), tuple)
                stack.append(_expect(stack.pop(), Global).value(*arguments))
            case "BUILD":
                state = stack.pop()
                # Attributes of dicts (version numbers) and of dtypes (their byte order is in the name) don't matter.
                if not isinstance(stack[-1], dict | np.dtype):
                    _expect(stack[-1], Record).state = state
            case "PERSID" | "BINPERSID":
                if self.persistent is None:
                    raise ValueError("damaged pickle (it refers to an archive around it)")
                stack.append(self.persistent(argument if opcode == "PERSID" else stack.pop()))
            case _:
                raise ValueError(f"pickle has the instruction {opcode}, which no checkpoint needs; nothing was run")

    def since_mark(self) -> list[Any]:
        """Take everything above the last mark off the stack."""
        items = []
        while (item := self.stack.pop()) is not MARK:
            items.append(item)
        return items[::-1]

    def items(self, marked: bool, count: int) -> list[Any]:
        """Take what is above the last mark off the stack, or `count` items."""
        return self.since_mark() if marked else [self.stack.pop() for _ in range(count)][::-1]

    def push_global(self, name: str) -> None:
        """Push what a name of the table stands for."""
        if name not in self.table:
            raise ValueError(f"pickle names {name!r}, which is not part of a checkpoint; nothing was run")
        self.stack.append(Global(name, self.table[name]))


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


def _pairs(items: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(items[::2], items[1::2], strict=True))
