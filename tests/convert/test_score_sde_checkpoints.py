"""score_sde's networks: recorded outputs and scores, published sizes, both layouts, errors that name the tensors."""

import functools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recorded import load, score_sde

import sgm_jax as sgm
from sgm_jax.convert import score_sde_flax, score_sde_pytorch
from sgm_jax.convert.score_sde import called_modules, ddpm_levels, make_network, make_process, read_flags

CONTINUOUS = ("ncsnpp_ve_continuous", "ncsnpp_ve_skip", "ncsnpp_subvp_continuous", "ddpmpp_vp_continuous")
NCSNPP = {
    "data.centered": False,
    "data.image_size": 32,
    "data.num_channels": 3,
    "model.attn_resolutions": (16,),
    "model.beta_max": 20.0,
    "model.beta_min": 0.1,
    "model.ch_mult": (1, 2, 2, 2),
    "model.embedding_type": "fourier",
    "model.fir": True,
    "model.name": "ncsnpp",
    "model.nf": 128,
    "model.num_res_blocks": 4,
    "model.num_scales": 1000,
    "model.progressive_input": "residual",
    "model.scale_by_sigma": True,
    "model.sigma_max": 50,
    "model.sigma_min": 0.01,
    "training.continuous": True,
    "training.sde": "vesde",
}
DDPMPP = {"model.embedding_type": "positional", "model.fir": False, "model.progressive_input": "none"}
POSITIONAL = {"model.embedding_type": "positional"}
DEEP = {"model.num_res_blocks": 8}
DDPM = {"model.name": "ddpm", "model.num_res_blocks": 2}
SKIP = {"model.progressive_input": "input_skip", "model.progressive": "output_skip"}
LARGE = SKIP | {"model.ch_mult": (1, 1, 2, 2, 2, 2, 2), "model.num_res_blocks": 2, "data.image_size": 256}
HUGE = SKIP | {
    "data.image_size": 1024,
    "model.ch_mult": (1, 2, 4, 8, 16, 32, 32, 32),
    "model.nf": 16,
    "model.num_res_blocks": 1,
}
DDPM_LARGE = DDPM | {"model.ch_mult": (1, 1, 2, 2, 4, 4), "data.image_size": 256}


def channels_last(x):
    return jnp.asarray(x.transpose(0, 2, 3, 1))


def difference(found, expected):
    """Return the largest difference of [b, h, w, c] and [b, c, h, w] in standard deviations of the latter."""
    return np.abs(np.asarray(found).transpose(0, 3, 1, 2) - expected).max() / expected.std()


def compiled(function):
    """Jit without optimising, since compiling is what takes the time here."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


@pytest.mark.parametrize("name", [*CONTINUOUS, "ddpm_vp"])
def test_recorded_output_is_reproduced(name):
    pretrained, arrays = score_sde(f"{name}.npz")
    output = compiled(pretrained.apply)(jnp.asarray(arrays["labels"]), channels_last(arrays["x"]))
    assert difference(output, arrays["output"]) < 1e-4


@pytest.mark.parametrize("name", CONTINUOUS)
def test_recorded_score_is_reproduced(name):
    pretrained, arrays = score_sde(f"{name}.npz")
    score = compiled(pretrained.score_fn)(jnp.asarray(arrays["t"]), channels_last(arrays["x"]))
    assert difference(score, arrays["score"]) < 1e-4


@pytest.mark.parametrize(
    "options, parameters, modules",
    [
        (DDPM, 35_218_947, 37),
        (DDPMPP, 61_804_419, 55),
        (DDPMPP | DEEP, 106_632_579, 91),
        (POSITIONAL, 62_693_251, 58),
        (POSITIONAL | DEEP, 107_521_411, 94),
        ({}, 62_758_787, 59),
        (DEEP, 107_586_947, 95),
        (LARGE, 65_574_421, 77),
        (HUGE, 105_785_880, 70),
        (DDPM_LARGE, 111_569_923, 51),
    ],
)
@pytest.mark.slow
def test_published_networks_have_their_published_size(options, parameters, modules):
    config = NCSNPP | options
    network = make_network(read_flags(config))
    image = jnp.zeros((1, config["data.image_size"], config["data.image_size"], 3))
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.ones(1), image)["params"]
    shapes["embedding"].pop("fourier", None)  # not trained
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == parameters
    assert len(list(called_modules(network, config["data.image_size"]))) == modules


def flax_layout(state, classes):
    """Rename a state_dict as flax would have named it, its numbered modules being of the given classes."""
    counts, params = Counter(), {}
    for index, module in enumerate(classes):
        inside = params[f"{module}_{counts[module]}"] = {}
        counts[module] += 1
        prefix = f"all_modules.{index}."
        for name in (name for name in state if name.startswith(prefix)):
            *path, leaf = name.removeprefix(prefix).split(".")
            array = state[name]
            if leaf == "weight":
                array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
                layer = (path or [module])[-1].split("_")[0]
                leaf = {"GroupNorm": "scale", "Conv": "kernel", "Dense": "kernel"}.get(layer, leaf)
            functools.reduce(lambda tree, key: tree.setdefault(key, {}), path, inside)[leaf] = array
    return params


# The classes of the recorded networks' modules: one block a level, attention at the second one.
NCSNPP_CLASSES = (
    "GaussianFourierProjection Dense Dense Conv Big Big Downsample Big Attn Big Attn Big "
    "Big Big Attn Big Big Big GroupNorm Conv"
)
DDPM_CLASSES = (
    "Dense Dense Conv DDPM Downsample DDPM Attn DDPM Attn DDPM DDPM DDPM Attn Upsample DDPM DDPM GroupNorm Conv"
)
FULL = {"Big": "ResnetBlockBigGANpp", "DDPM": "ResnetBlockDDPM"}


@pytest.mark.parametrize(
    "name, classes, attention",
    [("ncsnpp_ve_continuous", NCSNPP_CLASSES, "AttnBlockpp"), ("ddpm_vp", DDPM_CLASSES, "AttnBlock")],
)
def test_flax_layout_gives_the_same_parameters(name, classes, attention):
    state, _, config = load(f"{name}.npz")
    classes = [(FULL | {"Attn": attention}).get(module, module) for module in classes.split()]
    found = score_sde_flax(flax_layout(state, classes), config)
    jax.tree.map(np.testing.assert_array_equal, found.params, score_sde_pytorch(state, config).params)


def test_prefixes_and_nested_flags_do_not_matter():
    state, _, config = load("ddpmpp_vp_continuous.npz")
    nested = {}
    for name, value in config.items():
        group, flag = name.split(".")
        nested.setdefault(group, {})[flag] = value
    expected = score_sde_pytorch(state, config).params
    for rename in (lambda name: f"module.{name}", lambda name: name.removeprefix("all_modules.")):
        found = score_sde_pytorch({rename(name): array for name, array in state.items()}, nested)
        jax.tree.map(np.testing.assert_array_equal, found.params, expected)


def test_all_wrong_tensors_are_named():
    state, _, config = load("ddpmpp_vp_continuous.npz")
    del state["all_modules.3.Conv_0.weight"]
    state["all_modules.99.W"] = np.zeros(3)
    state["all_modules.0.weight"] = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"all_modules\.3\.Conv_0\.weight") as error:
        score_sde_pytorch(state, config)
    assert "all_modules.99.W" in str(error.value) and "all_modules.0.weight" in str(error.value)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"model.name": "ncsnp"}, "ncsnpp"),
        ({"training.sde": "ve"}, "vesde"),
        ({"model.resblock_type": "big"}, "biggan"),
    ],
)
def test_wrong_flags_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        score_sde_pytorch({}, NCSNPP | options)


def test_missing_flags_are_named():
    config = {name: value for name, value in NCSNPP.items() if name != "model.nf"}
    with pytest.raises(ValueError, match=r"without model\.nf"):
        score_sde_pytorch({}, config)


def label(options, t):
    sde, prediction = make_process(read_flags(NCSNPP | options))
    return sde, prediction.inputs(sde, t, jnp.zeros((len(t), 1)))[0]


def test_discrete_ve_is_fed_the_index_of_its_descending_noise_levels():
    index = np.array([0, 7, 500, 999])
    descending = np.exp(np.linspace(np.log(50), np.log(0.01), 1000))
    sde, found = label(DDPM | {"training.continuous": False}, sgm.VE().t(jnp.asarray(descending[index])))
    np.testing.assert_array_equal(found, index)
    network = make_network(read_flags(NCSNPP | DDPM))
    np.testing.assert_allclose(network._divisor(found).ravel(), descending[index], rtol=1e-5)


def test_discrete_vp_is_fed_the_index_of_the_level_it_was_trained_on():
    betas = np.linspace(0.1 / 1000, 20 / 1000, 1000)
    cumulative = np.cumprod(1 - betas)
    levels = np.sqrt((1 - cumulative) / cumulative)
    np.testing.assert_allclose(ddpm_levels(0.1, 20.0, 1000), levels, rtol=1e-10)
    index = np.array([0, 1, 400, 999])
    options = {"training.sde": "vpsde", "training.continuous": False}
    sde, found = label(options, sgm.VP().t(jnp.asarray(levels[index], jnp.float32)))
    np.testing.assert_allclose(found, index, atol=2e-3)
