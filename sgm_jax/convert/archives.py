"""Read checkpoint files of any project as plain values and arrays, without PyTorch and without running anything.

The kind of a file follows from its content, never from its name.
"""

import io
import json
import pathlib
import struct
import zipfile
import zlib
from typing import Any, NamedTuple

import flax.serialization
import msgpack
import numpy as np
import safetensors
import safetensors.numpy

from sgm_jax.convert import pickles
from sgm_jax.convert.pickles import Record, unpickle

# The number that PyTorch's format before 1.6 begins with, pickled.
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_START = b"\x80\x02\x8a\n" + LEGACY_MAGIC.to_bytes(10, "little")
DIFFUSERS = tuple(f"diffusion_pytorch_model.{end}" for end in ("safetensors", "bin", "fp16.safetensors", "fp16.bin"))

# What reading a damaged file may raise.
DAMAGED = (ValueError, *pickles.DAMAGED, zipfile.BadZipFile, zlib.error, RuntimeError, msgpack.UnpackException)
DAMAGED += (safetensors.SafetensorError, OSError)


class Archive(NamedTuple):
    """What a file holds.

    Attributes:
        kind: "torch", "pickle", "msgpack", "safetensors" or "folder".
        content: its values; tensors are arrays.
        metadata: what is said about them, for safetensors the text metadata, for folders the JSON files by name.
    """

    kind: str
    content: Any
    metadata: dict[str, Any]


def read(path: str | pathlib.Path) -> Archive:
    """Read a checkpoint.

    Args:
        path: a file of PyTorch (either format), a pickle, flax's msgpack or safetensors, or a folder of diffusers.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged, of no known format, or names anything but arrays and plain values.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        return Archive("folder", *_folder(path))
    if not path.exists():
        raise FileNotFoundError(f"no file {str(path)!r}")
    file = path.open("rb")
    try:
        with file:
            return _read_file(path, file)
    except DAMAGED as error:
        reason = str(error) if isinstance(error, ValueError) and str(error) else "it is truncated or damaged"
        raise ValueError(f"{path} cannot be read: {reason}") from error


def _read_file(path: pathlib.Path, file: io.BufferedIOBase) -> Archive:
    start = file.read(len(LEGACY_START))
    file.seek(0)
    if start[:4] == b"PK\x03\x04":
        return Archive("torch", read_zip(file), {})
    if start == LEGACY_START:
        return Archive("torch", read_legacy(file), {})
    if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05":
        return Archive("pickle", read_pickle(file), {})
    if start[8:9] == b"{":
        return Archive("safetensors", *_safetensors(path))
    # A map is how every flax state begins.
    if start[:1] and (0x81 <= start[0] <= 0x8F or start[0] in (0xDE, 0xDF)):
        return Archive("msgpack", flax.serialization.msgpack_restore(file.read()), {})
    raise ValueError("it is neither a PyTorch, pickle, msgpack nor safetensors file")


def read_pickle(file: io.BufferedIOBase) -> Any:
    """Read a pickle that stands alone; tensors inside it are PyTorch files of their own, nested as bytes."""
    nested = {"torch.storage._load_from_bytes": lambda data: read_legacy(io.BytesIO(data))}
    return unpickle(file, table=nested)


def read_zip(file: io.BufferedIOBase) -> Any:
    """Read PyTorch's zip format: a pickle, and one entry a storage.

    Raises:
        ValueError: if it holds no such pickle, or is damaged.
    """
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("it is a zip file, but not one of PyTorch's")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}byteorder" in names:
            _check_byte_order(archive.read(f"{root}byteorder") == b"little")
        storages = {}

        def storage(identity: tuple) -> np.ndarray:
            _, dtype, key, *_ = _identity(identity)
            if key not in storages:
                storages[key] = np.frombuffer(archive.read(f"{root}data/{key}"), dtype)
            return storages[key]

        return unpickle(io.BytesIO(archive.read(pickles[0])), storage)


def read_legacy(file: io.BufferedIOBase) -> Any:
    """Read PyTorch's format before 1.6: pickles of numbers, of the content and of the keys, then the storages.

    Raises:
        ValueError: if it is damaged.
    """
    magic, _, system = (unpickle(file) for _ in range(3))
    if magic != LEGACY_MAGIC:
        raise ValueError("it is not a PyTorch file")
    _check_byte_order(system["little_endian"])
    here = file.tell()
    size = file.seek(0, io.SEEK_END) - here
    file.seek(here)
    storages: dict[str, np.ndarray] = {}

    def storage(identity: tuple) -> np.ndarray:
        # Filled in below: the bytes come after the pickle that speaks of them.
        _, dtype, key, _, count, *view = _identity(identity)
        if key not in storages:
            if not 0 <= count * dtype.itemsize <= size:
                raise ValueError("it is truncated or damaged")
            storages[key] = np.empty(count, dtype)
        _, offset, length = view[0] if view and view[0] else (None, 0, count)
        return storages[key][offset : offset + length]

    content, keys = unpickle(file, storage), unpickle(file)
    for key in keys:
        (count,) = struct.unpack("<q", _exactly(file, 8))
        if count != storages[key].size:
            raise ValueError("it is truncated or damaged")
        storages[key][:] = np.frombuffer(_exactly(file, storages[key].nbytes), storages[key].dtype)
    return content


def _identity(identity: Any) -> tuple:
    """Return a storage's identity: ("storage", dtype, key, device, count, ...)."""
    if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
        raise ValueError("it holds objects other than tensors; save a state_dict instead")
    kind, dtype, *rest = identity
    return kind, dtype.value, *rest


def _exactly(file: io.BufferedIOBase, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise ValueError("it is truncated")
    return data


def _check_byte_order(is_little: bool) -> None:
    if not is_little:
        raise ValueError("it was written on a big-endian machine, which is not supported")


def _safetensors(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    with safetensors.safe_open(path, framework="flax") as file:
        return {name: np.asarray(file.get_tensor(name)) for name in file.keys()}, file.metadata() or {}


def _folder(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a folder of diffusers: the network's tensors, and the JSON files of network and scheduler."""
    network = path / "unet" if (path / "unet").is_dir() else path
    weights = next((network / name for name in DIFFUSERS if (network / name).exists()), None)
    if weights is None or not (network / "config.json").exists():
        raise ValueError(f"folder {path} must hold config.json and one of {', '.join(DIFFUSERS)}, in unet/ or itself")
    files = {"config": network / "config.json"}
    for folder in (network, path / "scheduler"):
        if (folder / "scheduler_config.json").exists():
            files["scheduler"] = folder / "scheduler_config.json"
    return read(weights).content, {name: read_json(file) for name, file in files.items()}


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """Read a file of flags.

    Raises:
        ValueError: if it holds anything but one JSON object.
    """
    try:
        flags = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(flags, dict):
        raise ValueError(f"{path} must hold one JSON object, got {type(flags).__name__}")
    return flags


def state_dict(record: Record) -> dict[str, np.ndarray]:
    """Return the tensors of a pickled PyTorch module by name, as its `state_dict` would, and no other attribute.

    Raises:
        ValueError: if it is no module.
    """
    tensors: dict[str, np.ndarray] = {}

    def collect(module: Any, prefix: str) -> None:
        if not isinstance(module, Record) or not isinstance(module.state, dict) or "_modules" not in module.state:
            raise ValueError(f"{prefix or 'it'} is not a module of PyTorch")
        transient = module.state.get("_non_persistent_buffers_set", ())
        for name, value in (module.state["_parameters"] | module.state["_buffers"]).items():
            if value is not None and name not in transient:
                tensors[prefix + name] = value
        for name, child in module.state["_modules"].items():
            if child is not None:
                collect(child, f"{prefix}{name}.")

    collect(record, "")
    return tensors
