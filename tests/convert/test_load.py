"""One call for every project's files, each recognised by its content."""

import json
import pickle
import shutil

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from pytorch_files import module, nested_tensor, storage, tensor, write_legacy, write_pickle, write_zip
from recorded import DATA, load
from test_score_sde_checkpoints import FULL, NCSNPP_CLASSES, flax_layout

from sgm_jax import convert
from sgm_jax.convert.published import PUBLISHED
from sgm_jax.convert.score_sde import make_network, read_flags

CHECKPOINT = DATA / "ncsnpp_ve_continuous.pth"


def whole(array):
    """The array as a tensor of a PyTorch file."""
    strides = tuple(step // array.itemsize for step in array.strides)
    return tensor(storage(array), 0, array.shape, strides)


def same(pretrained, expected):
    jax.tree.map(np.testing.assert_array_equal, pretrained.params, expected.params)
    return pretrained.network == expected.network and pretrained.prediction == expected.prediction


@pytest.fixture(scope="module")
def ncsnpp():
    state, record, config = load("ncsnpp_ve_continuous.npz")
    return state, record, config


@pytest.mark.slow
def test_averaged_weights_of_a_checkpoint_give_the_recorded_output(ncsnpp):
    _, record, config = ncsnpp
    expected = np.load(DATA / "ncsnpp_ve_continuous_pth_output.npz")["output"].transpose(0, 2, 3, 1)
    labels, x = jnp.asarray(record["labels"]), jnp.asarray(record["x"].transpose(0, 2, 3, 1))
    pretrained = convert.load(CHECKPOINT, config=config)
    assert np.abs(jax.jit(pretrained.apply)(labels, x) - expected).max() < 1e-4 * expected.std()
    assert pretrained.shape == (16, 16, 3) and (pretrained.scaling.low, pretrained.scaling.high) == (0.0, 1.0)
    raw = convert.load(CHECKPOINT, config=config, weights="raw")
    difference = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), pretrained.params, raw.params)
    # The frequencies of the Fourier embedding are never trained, hence never averaged.
    assert difference["embedding"].pop("fourier") == {"frequencies": 0.0}
    assert min(jax.tree.leaves(difference)) > 0


def test_converted_networks_come_back_from_their_own_file(tmp_path, ncsnpp):
    pretrained = convert.load(CHECKPOINT, config=ncsnpp[2])
    pretrained.save(tmp_path / "model.safetensors")
    for path in (tmp_path, tmp_path / "model.safetensors"):
        assert same(convert.load(path), pretrained)


def test_flags_stand_beside_the_file(tmp_path, ncsnpp):
    shutil.copy(CHECKPOINT, tmp_path / "checkpoint.pth")
    with pytest.raises(ValueError, match="config must be given.*checkpoint.json.*ve/cifar10_ncsnpp_continuous"):
        convert.load(tmp_path / "checkpoint.pth")
    (tmp_path / "checkpoint.json").write_text(json.dumps(ncsnpp[2]))
    assert convert.load(tmp_path / "checkpoint.pth").network.channels == 16
    (tmp_path / "checkpoint.json").write_text("{")
    with pytest.raises(ValueError, match="checkpoint.json is not JSON"):
        convert.load(tmp_path / "checkpoint.pth")
    with pytest.raises(ValueError, match="did you mean 've/cifar10_ncsnpp_continuous'"):
        convert.load(CHECKPOINT, config="ve/cifar10_ncsnp_continuous")
    with pytest.raises(FileNotFoundError, match="no file 'flags.json' with the flags of .*checkpoint.pth"):
        convert.load(tmp_path / "checkpoint.pth", config="flags.json")
    # A published network is another one than this: every tensor of a wrong shape is named.
    for other in ("ve/cifar10_ncsnpp_continuous", "ve/cifar10_ncsnpp"):
        with pytest.raises(ValueError, match="of a wrong shape: .*all_modules.1.weight.* and .* more") as error:
            convert.load(CHECKPOINT, config=other)
        assert len(str(error.value)) < 2000 and "all_modules.17.Conv_2.bias" in error.value.__notes__[0]


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_flax_checkpoints_are_those_of_pytorch(tmp_path, ncsnpp, weights):
    state, _, config = ncsnpp
    classes = [(FULL | {"Attn": "AttnBlockpp"}).get(name, name) for name in NCSNPP_CLASSES.split()]
    params = flax_layout(state, classes)
    other = jax.tree.map(np.zeros_like, params)
    kept = {"params_ema": params, "optimizer": {"target": other}}
    if weights == "raw":
        kept = {"params_ema": other, "optimizer": {"target": params}}
    (tmp_path / "checkpoint_9").write_bytes(
        flax.serialization.msgpack_serialize(kept | {"step": 9, "rng": np.zeros(2)})
    )
    assert same(
        convert.load(tmp_path / "checkpoint_9", config=config, weights=weights),
        convert.score_sde_pytorch(state, config),
    )


@pytest.mark.parametrize(("name", "averaged"), [("ncsn", False), ("ncsnv2", True)])
@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_lists_are_checkpoints_of_ncsn(tmp_path, name, averaged, write):
    state, _, config = load(f"{name}.npz")
    model = {f"module.{key}": whole(array if not averaged else 0 * array) for key, array in state.items()}
    content = [model, {"state": {}}]
    if averaged:
        content += [5, 6, {key: whole(array) for key, array in state.items() if key != "sigmas"}]
    write(tmp_path / "checkpoint.pth", content)
    assert same(convert.load(tmp_path / "checkpoint.pth", config=config), convert.ncsn(state, config))


def test_pickles_are_networks_of_edm(tmp_path):
    state, _, config = load("edm_adm.npz")
    tree = {}
    for name, array in state.items():
        node = tree
        for part in name.split(".")[:-1]:
            node = node.setdefault(part, {})
        node[name.split(".")[-1]] = nested_tensor(array)

    def build(node, kind="Module", **others):
        inner = {key: build(child) for key, child in node.items() if isinstance(child, dict)}
        return module(kind, {k: v for k, v in node.items() if not isinstance(v, dict)}, {}, inner, **others)

    kind, options = config["precond"], {key: value for key, value in config.items() if key != "precond"}
    network = build(tree, kind, _init_args=(), _init_kwargs=options)
    write_pickle(tmp_path / "network-snapshot.pkl", {"ema": network, "augment_pipe": None})
    loaded = convert.load(tmp_path / "network-snapshot.pkl")
    assert same(loaded, convert.edm(state, config)) and isinstance(loaded, convert.Denoiser)
    loaded.save(tmp_path / "model.safetensors")
    assert isinstance(convert.load(tmp_path / "model.safetensors"), convert.Denoiser)
    with pytest.raises(ValueError, match="one set of weights"):
        convert.load(tmp_path / "network-snapshot.pkl", weights="raw")


def test_unknown_formats_and_contents_are_refused(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'score_sde_flax'"):
        convert.load(CHECKPOINT, format="score_sde_flx")
    with pytest.raises(ValueError, match="did you mean 'ema'"):
        convert.load(CHECKPOINT, weights="emma")
    with pytest.raises(ValueError, match="not a checkpoint of format 'edm'"):
        convert.load(CHECKPOINT, format="edm")
    write_zip(tmp_path / "other.pth", {"layer.weight": whole(np.zeros(3, np.float32))})
    with pytest.raises(ValueError, match="format of this torch file must be one of score_sde_pytorch, .*sgm_jax"):
        convert.load(tmp_path / "other.pth")
    safetensors.numpy.save_file({"a": np.zeros(3, np.float32)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="is not a file of sgm_jax"):
        convert.Pretrained.load(tmp_path / "a.safetensors")


@pytest.mark.slow
def test_published_flags_are_those_of_the_published_sizes():
    """Parameter counts of the published networks, Fourier frequencies included."""
    counts = {
        "vp/cifar10_ddpmpp_continuous": 61_804_419,
        "subvp/cifar10_ddpmpp_deep_continuous": 106_632_579,
        "ve/cifar10_ncsnpp_continuous": 62_758_787 + 128,
        "vp/cifar10_ncsnpp_deep_continuous": 107_521_411,
        "ve/ffhq_256_ncsnpp_continuous": 65_574_421 + 128,
        "ve/celebahq_ncsnpp_continuous": 105_785_880 + 16,
        "vp/ddpm/cifar10": 35_218_947,
        "vp/ddpm/church": 111_569_923,
    }
    for name, expected in counts.items():
        flags = read_flags(PUBLISHED[name])
        size = flags["data.image_size"]
        shapes = jax.eval_shape(
            make_network(flags).init, jax.random.key(0), jnp.ones(1), jax.ShapeDtypeStruct((1, size, size, 3), float)
        )
        assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == expected, name


def test_shipped_networks_are_listed():
    import sgm_jax

    with pytest.raises(ValueError, match="name must be"):
        sgm_jax.pretrained("no such network")


@pytest.mark.parity
def test_files_of_pytorch_itself_read_equal(tmp_path):
    torch = pytest.importorskip("torch")
    base = torch.randn(4, 6)
    parts = {"transposed": base.t(), "part": base[1:3, ::2], "half": base.half(), "long": torch.arange(5)}
    parts |= {"parameter": torch.nn.Parameter(base), "empty": torch.zeros(0, 3), "bfloat16": base.bfloat16()}
    torch.save({"model": parts}, tmp_path / "zip")
    torch.save({"model": parts}, tmp_path / "legacy", _use_new_zipfile_serialization=False)
    (tmp_path / "pickle").write_bytes(pickle.dumps({"model": parts}))
    for name in ("zip", "legacy", "pickle"):
        read = convert.archives.read(tmp_path / name).content["model"]
        for key, value in parts.items():
            assert read[key].shape == tuple(value.shape)
            np.testing.assert_array_equal(np.asarray(read[key], np.float32), value.detach().float().numpy())
