"""Checkpoint files as PyTorch and EDM write them, made without PyTorch."""

import io
import pickle
import struct
import zipfile

import numpy as np

MAGIC, PROTOCOL, SYSTEM = 0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}


class Named:
    """Pickles as a name of a module that need not exist."""

    def __init__(self, name):
        self.name = name


class Call:
    """Pickles as the call of something named."""

    def __init__(self, name, *arguments):
        self.name, self.arguments = name, arguments


class Storage(np.ndarray):
    """Pickles as a reference to bytes outside the pickle."""


def storage(array):
    return np.ascontiguousarray(array).reshape(-1).view(Storage)


class Pickler(pickle._Pickler):
    """Writes pickles that name modules which are not here."""

    def __init__(self, file, keys=None):
        super().__init__(file, protocol=2)
        self.keys = keys if keys is not None else {}

    def save(self, value, *args, **kwargs):
        if isinstance(value, Named):
            self.write(pickle.GLOBAL + value.name.replace(" ", "\n").encode() + b"\n")
        elif isinstance(value, Call):
            self.save(Named(value.name))
            self.save(value.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(value, *args, **kwargs)

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        kind = {"f4": "Float", "f8": "Double", "f2": "Half", "i8": "Long"}[value.dtype.str[1:]]
        key = self.keys.setdefault(id(value), (str(len(self.keys)), value))[0]
        return ("storage", Named(f"torch {kind}Storage"), key, "cpu", value.size)


def tensor(source, offset, size, stride):
    return Call("torch._utils _rebuild_tensor_v2", source, offset, size, stride, False, {})


def dumps(*values, keys=None):
    file = io.BytesIO()
    for value in values:
        Pickler(file, keys).dump(value)
    return file.getvalue()


def write_zip(path, value):
    keys = {}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", dumps(value, keys=keys))
        for key, array in keys.values():
            archive.writestr(f"archive/data/{key}", array.tobytes())


def legacy(value):
    keys = {}
    start = dumps(MAGIC, PROTOCOL, SYSTEM) + dumps(value, keys=keys)
    names = [key for key, _ in keys.values()]
    data = b"".join(struct.pack("<q", array.size) + array.tobytes() for _, array in keys.values())
    return start + dumps(names) + data


def write_legacy(path, value):
    path.write_bytes(legacy(value))


def write_pickle(path, value):
    path.write_bytes(dumps(value))


WRITERS = {"zip": write_zip, "legacy": write_legacy, "pickle": write_pickle}


def module(kind, parameters=None, buffers=None, modules=None, **others):
    """A module as EDM's persistence pickles it, source and all."""
    state = {"_parameters": parameters or {}, "_buffers": buffers or {}, "_modules": modules or {}, **others}
    meta = {"type": "class", "version": 6, "module_src": "import os; os.abort()", "class_name": kind, "state": state}
    return Call("torch_utils.persistence _reconstruct_persistent_obj", meta)


def nested_tensor(array):
    """A tensor as plain pickle writes it: its storage is a PyTorch file of its own, as bytes."""
    data = legacy(storage(array))
    loaded = Call("torch.storage _load_from_bytes", data)
    strides = tuple(step // array.itemsize for step in array.strides)
    return Call("torch._utils _rebuild_parameter", tensor(loaded, 0, array.shape, strides), True, {})
