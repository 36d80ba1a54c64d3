"""Files of other projects: read as values, run never, refused with their name when they are anything else."""

import io
import os
import pickle
import struct
import types

import flax.serialization
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from pytorch_files import WRITERS, Call, dumps, legacy, module, nested_tensor, storage, tensor, write_pickle, write_zip
from recorded import DATA

from sgm_jax.convert import archives
from sgm_jax.convert.pickles import Record, unpickle

# ----------------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("form", ["zip", "legacy"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64])
def test_strided_tensors_are_views_of_their_storage(tmp_path, form, dtype):
    base = np.arange(24).astype(dtype)
    shared = storage(base)
    content = {
        "whole": tensor(shared, 0, (4, 6), (6, 1)),
        "transposed": tensor(shared, 0, (6, 4), (1, 6)),
        "part": tensor(shared, 7, (2, 3), (6, 2)),
        "number": tensor(shared, 5, (), ()),
        "empty": tensor(shared, 24, (0, 3), (3, 1)),
        "others": [1, 2.5, None, True, "text", (1, 2), {"a": {3}}, 10**20],
    }
    WRITERS[form](tmp_path / "file.pth", content)
    archive = archives.read(tmp_path / "file.pth")
    assert archive.kind == "torch"
    table = base.reshape(4, 6)
    expected = {"whole": table, "transposed": table.T, "part": table[1:3, 1::2], "number": dtype(5)}
    for name, array in (expected | {"empty": np.zeros((0, 3), dtype)}).items():
        np.testing.assert_array_equal(archive.content[name], array)
        assert archive.content[name].dtype == dtype
    assert archive.content["others"] == content["others"]


def test_recorded_checkpoint_has_its_parts():
    content = archives.read(DATA / "ncsnpp_ve_continuous.pth").content
    assert set(content) == {"model", "ema", "optimizer", "step"} and content["step"] == 1234
    weights, buffers = len(content["ema"]["shadow_params"]), ("module.sigmas", "module.all_modules.0.W")
    assert len(content["model"]) == weights + len(buffers) and all(name in content["model"] for name in buffers)


def test_persistent_modules_are_records_and_their_source_is_left_alone(tmp_path):
    weight, bias = np.arange(6.0, dtype=np.float32).reshape(2, 3), np.ones(2, np.float32)
    inner = module("Linear", {"weight": nested_tensor(weight), "bias": None}, {"scratch": nested_tensor(bias)})
    outer = module("Outer", {"gain": nested_tensor(bias)}, {}, {"layer": inner}, _init_kwargs={"label_dim": 10})
    write_pickle(tmp_path / "net.pkl", {"ema": outer, "loss_fn": module("Loss")})
    archive = archives.read(tmp_path / "net.pkl")
    network = archive.content["ema"]
    assert archive.kind == "pickle" and isinstance(network, Record)
    assert (network.kind, network.state["_init_kwargs"]) == ("Outer", {"label_dim": 10})
    tensors = archives.state_dict(network)
    assert list(tensors) == ["gain", "layer.weight", "layer.scratch"]
    np.testing.assert_array_equal(tensors["layer.weight"], weight)


def test_msgpack_and_safetensors_come_back(tmp_path):
    arrays = {"a": np.arange(6.0, dtype=np.float32).reshape(2, 3), "b": np.arange(3, dtype=np.int32)}
    (tmp_path / "checkpoint_1").write_bytes(flax.serialization.msgpack_serialize({"params": arrays, "step": 3}))
    archive = archives.read(tmp_path / "checkpoint_1")
    assert archive.kind == "msgpack" and archive.content["step"] == 3
    np.testing.assert_array_equal(archive.content["params"]["a"], arrays["a"])
    safetensors.numpy.save_file(arrays, tmp_path / "model", {"note": "x"})
    archive = archives.read(tmp_path / "model")
    assert archive.kind == "safetensors" and archive.metadata == {"note": "x"}
    np.testing.assert_array_equal(archive.content["b"], arrays["b"])


def test_numbers_that_python_2_wrote_as_strings_are_read():
    number = b"U\x08" + np.float64(-1.5e300).tobytes()
    dtype = b"cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R"
    assert unpickle(io.BytesIO(b"\x80\x02cnumpy.core.multiarray\nscalar\n" + dtype + number + b"\x86R.")) == -1.5e300


def test_bfloat16_is_read(tmp_path):
    values = jnp.array([1.0, -2.5, 3.25], jnp.bfloat16)
    header = b'{"x":{"dtype":"BF16","shape":[3],"data_offsets":[0,6]}}'
    (tmp_path / "model").write_bytes(struct.pack("<Q", len(header)) + header + np.asarray(values).tobytes())
    np.testing.assert_array_equal(np.asarray(archives.read(tmp_path / "model").content["x"]), values)


# ------------------------------------------------------------------------------------------------ what is not to run


class Evil:
    """Runs a command when Python unpickles it."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def hidden(payload, form):
    """The payload on its own, or where a tensor's bytes or a module's state should be."""
    if form == "nested":
        return {"ema": module("Net", {"w": Call("torch.storage _load_from_bytes", legacy(payload))})}
    return {"ema": module("Net", {"weight": payload})} if form == "module" else payload


@pytest.mark.parametrize(
    ("form", "writer"),
    [("zip", "zip"), ("legacy", "legacy"), ("pickle", "pickle"), ("module", "pickle"), ("nested", "pickle")],
)
def test_evil_pickles_run_nothing_and_are_named(tmp_path, form, writer):
    mark = tmp_path / "ran"
    WRITERS[writer](tmp_path / "file", hidden(Evil(f"touch {mark}"), form))
    with pytest.raises(ValueError, match="file cannot be read: pickle names '(posix|nt).system'.*nothing was run"):
        archives.read(tmp_path / "file")
    assert not mark.exists()


def test_the_payload_does_run_in_pythons_unpickler(tmp_path):
    pickle.loads(pickle.dumps(Evil(f"touch {tmp_path / 'ran'}")))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "call",
    [
        Call("builtins eval", "1"),
        Call("builtins getattr", "", "join"),
        Call("torch load", "x"),
        Call("sgm_jax.convert.pickles unpickle", b""),
        Call("collections namedtuple", "x", "y"),
        Call("numpy load", "x"),
    ],
    ids=lambda call: call.name,
)
def test_only_names_of_the_table_are_known(call):
    with pytest.raises(ValueError, match="nothing was run"):
        unpickle(io.BytesIO(dumps(call)))


def test_constructors_of_the_table_cannot_be_altered():
    ordered = pickle.dumps(types.SimpleNamespace(a=1), 2).replace(
        b"types\nSimpleNamespace", b"collections\nOrderedDict"
    )
    assert unpickle(io.BytesIO(ordered)) == {}
    # BUILD on the name itself, which in Python sets attributes of the class.
    with pytest.raises(ValueError, match="damaged"):
        unpickle(io.BytesIO(b"\x80\x02ccollections\nOrderedDict\n}X\x01\x00\x00\x00aK\x01sb."))


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((5,), (1,), 20),
        ((4, 7), (6, 1), 0),
        ((2,), (10**12,), 0),
        ((2,), (-1,), 3),
        ((-1,), (1,), 0),
        ((2,), (1, 1), 0),
    ],
)
def test_tensors_do_not_reach_past_their_storage(tmp_path, size, stride, offset):
    write_zip(tmp_path / "file", tensor(storage(np.zeros(24, np.float32)), offset, size, stride))
    with pytest.raises(ValueError, match="tensor of size"):
        archives.read(tmp_path / "file")


# ---------------------------------------------------------------------------------------------------- damaged files


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle", "safetensors", "msgpack"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_truncated_files_are_refused_by_name(tmp_path, form, share):
    path = tmp_path / "file"
    array = np.random.default_rng(0).standard_normal(100).astype(np.float32)
    if form == "safetensors":
        safetensors.numpy.save_file({"a": array}, path)
    elif form == "msgpack":
        path.write_bytes(flax.serialization.msgpack_serialize({"a": array}))
    else:
        inner = nested_tensor(array) if form == "pickle" else tensor(storage(array), 0, (100,), (1,))
        WRITERS[form](path, {"a": inner})
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match="file cannot be read"):
        archives.read(path)


@pytest.mark.parametrize(
    "content", [b"", b"text that is no checkpoint", b"\x89PNG\r\n\x1a\n", b"\x1f\x8b\x08" + bytes(9)]
)
def test_other_files_are_refused_by_name(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match="file cannot be read"):
        archives.read(tmp_path / "file")


def test_zip_files_without_a_pickle_are_refused(tmp_path):
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match="not one of PyTorch's"):
        archives.read(tmp_path / "arrays.npz")
    with pytest.raises(FileNotFoundError, match="absent"):
        archives.read(tmp_path / "absent")
    with pytest.raises(ValueError, match="config.json"):
        archives.read(tmp_path)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_bytes_gone_wrong_give_values_or_one_error(tmp_path, form, seed):
    path, generator = tmp_path / "file", np.random.default_rng(seed)
    inner = storage(np.arange(20, dtype=np.float32))
    array = nested_tensor(np.asarray(inner)) if form == "pickle" else tensor(inner, 0, (4, 5), (5, 1))
    WRITERS[form](path, {"a": array, "b": [1, {"c": "d"}]})
    data = path.read_bytes()
    for _ in range(200):
        damaged = bytearray(data)
        damaged[generator.integers(len(data))] = generator.integers(256)
        path.write_bytes(damaged)
        try:
            archives.read(path)
        except ValueError as error:
            assert str(path) in str(error)
