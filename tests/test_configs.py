"""The configs of papers: full ones build and have the published networks, smoke ones train and sample."""

import dataclasses
import functools
import importlib
import math
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgm_jax import data
from sgm_jax.components import REDUCTIONS, data_options, describe_data
from sgm_jax.convert.published import NCSN, SCORE_SDE
from sgm_jax.convert.score_sde import make_network, make_process, read_flags
from sgm_jax.naming import set_options
from sgm_jax.run import OBJECTIVES
from sgm_jax.training.averaging import WARMUPS

ROOT = pathlib.Path(__file__).parents[1] / "configs"
FILES = [path for path in sorted(ROOT.glob("*/**/*.py")) if path.stem != "common"]
NAMES = [path.relative_to(ROOT).with_suffix("").as_posix() for path in FILES]


def get_config(name, variant):
    return importlib.import_module("configs." + name.replace("/", ".")).get_config(variant)


@functools.cache
def full_experiment(name):
    """The experiment of a full config, whose data need not be at hand."""
    config = get_config(name, "full").lock()
    load = functools.partial(describe_data, num_classes=config.network.get("num_classes"))
    return OBJECTIVES[config.objective][0].from_config(config, load=load)


@pytest.mark.parametrize("name", NAMES)
def test_full_configs_build(name):
    assert full_experiment(name).config.objective in OBJECTIVES
    assert f"configs/{name}.py" in importlib.import_module("configs." + name.replace("/", ".")).__doc__


@pytest.mark.parametrize("name", NAMES)
def test_full_configs_name_data_and_options_that_there_are(name):
    section = get_config(name, "full").data
    assert set_options("data", data.DATASETS[section.name], data_options(section)).keys() <= {
        "category",
        "shape",
        "size",
    }


def test_all_of_score_sde_is_there():
    assert sum(name.startswith("score_sde/") for name in NAMES) == 39
    assert {f"score_sde/{name}" for name in SCORE_SDE} <= set(NAMES)


@pytest.mark.parametrize("name", SCORE_SDE)
def test_networks_of_score_sde_are_those_that_its_checkpoints_need(name):
    # The factor 999 on the time is in the network here, and in the noise label there.
    network = dataclasses.replace(full_experiment(f"score_sde/{name}").network, label_scale=1.0)
    assert network == make_network(read_flags(SCORE_SDE[name]))


@pytest.mark.parametrize(
    "name",
    [
        "subvp/cifar10_ddpm_continuous",
        "ve/cifar10_ncsnpp",
        "ve/cifar10_ncsnpp_continuous",
        "vp/cifar10_ddpmpp",
        "vp/cifar10_ddpmpp_continuous",
    ],
)
def test_networks_of_score_sde_are_fed_what_its_checkpoints_need(name):
    experiment = full_experiment(f"score_sde/{name}")
    sde, prediction = make_process(read_flags(SCORE_SDE[name]))
    assert dataclasses.replace(experiment.sde, t_min=sde.t_min) == sde
    t = jnp.linspace(0, 1, 1000)[::111]  # at discrete levels of the variance-exploding process
    x = jnp.zeros((len(t), 1, 1, 1))
    ours, theirs = experiment.prediction.inputs(experiment.sde, t, x)[0], prediction.inputs(sde, t, x)[0]
    np.testing.assert_allclose(experiment.network.label_scale * ours, theirs, rtol=1e-4, atol=0.02)
    coefficients = [p.coefficients(sde, t[1:]) for p in (experiment.prediction, prediction)]
    np.testing.assert_allclose(*coefficients, rtol=1e-5)


@pytest.mark.parametrize("name", NCSN)
def test_noise_levels_are_those_of_the_published_checkpoints_of_ncsn(name):
    paper, data_name = name.split("/")
    network = full_experiment(f"{paper}_paper/{data_name}").network
    model = NCSN[name]["model"]
    assert network.channels == model["ngf"]
    if paper == "ncsn":
        assert network.norm_levels == model["num_classes"]
    else:
        levels = np.geomspace(model["sigma_begin"], model["sigma_end"], model["num_classes"])
        np.testing.assert_allclose(network.sigmas, levels)


# Of the references' own constructors; where a network has Fourier frequencies, these included.
COUNTS = {
    "score_sde/vp/ddpm/cifar10": 35_218_947,
    "score_sde/vp/ddpm/celebahq": 111_569_923,
    "score_sde/vp/cifar10_ddpmpp_continuous": 61_804_419,
    "score_sde/vp/cifar10_ncsnpp": 62_693_251,
    "score_sde/ve/cifar10_ncsnpp_continuous": 62_758_787 + 128,
    "score_sde/ve/cifar10_ncsnpp_deep_continuous": 107_586_947 + 128,
    "score_sde/ve/ffhq_256_ncsnpp_continuous": 65_574_421 + 128,
    "score_sde/ve/ffhq_ncsnpp_continuous": 105_785_880 + 16,
    "score_sde/ve/ncsn/cifar10_124": 39_750_659,
    "ncsn_paper/mnist": 7_638_657,
    "ncsnv2_paper/cifar10": 29_694_083,
    "ncsnv2_paper/bedroom": 83_445_379,
    "ncsnv2_paper/ffhq": 94_132_611,
    "edm/cifar10_cond_vp": 55_735_299,
    "edm/cifar10_uncond_ve": 56_397_827 + 128,
    "edm/ffhq_64_vp": 61_805_571,
    "edm/imagenet_64_adm": 295_899_267,
    "score_inverse_problems/ct2d_320_ncsnpp_continuous": 4_119_015,
    # 67 biases where the reference has none, less one input of the embedding that there is always zero.
    "vdm_paper/cifar10": 30_578_179 + 67 * 128 - 4 * 128,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTS)
def test_networks_have_as_many_parameters_as_published(name):
    experiment = full_experiment(name)
    example = jnp.ones(1), jnp.zeros((1, *experiment.dataset.shape))
    inputs = experiment.prediction.inputs(experiment.sde, *example)
    params = jax.eval_shape(experiment.network.init, jax.random.key(0), *inputs)["params"]
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)) == COUNTS[name]


@pytest.mark.parametrize(
    "name", ["edm/imagenet_64_adm", "score_flow/vp/cifar10_ddpmpp_continuous", "vdm_paper/cifar10"]
)
def test_smoke_variants_of_other_kinds_build(name):
    config = get_config(name, "smoke").lock()
    experiment = OBJECTIVES[config.objective][0].from_config(config)
    full = full_experiment(name)
    assert experiment.dataset.name == "generated" and experiment.dataset.num_classes == (full.num_classes or None)
    assert experiment.dataset.shape[-1] == full.dataset.shape[-1]


COLUMNS = {"bits per dimension": "bits_per_dim", "FID": "fid", "FID, PC": "fid", "Inception score": "inception_score"}


def figures_of_the_docs():
    """What the tables of docs/benchmarks.md have of each config, for what `config.published` may hold."""
    figures, columns = {}, []
    for line in (ROOT.parent / "docs" / "benchmarks.md").read_text().splitlines():
        first, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        if first == "config":
            columns = cells
        for name in set(re.findall(r"`([\w/]+)`", first)) & set(NAMES) if line.startswith("|") else ():
            found = {
                COLUMNS[c]: re.match(r"[\d.]+", cell) for c, cell in zip(columns, cells, strict=True) if c in COLUMNS
            }
            figures[name] = figures.get(name, {}) | {key: float(match[0]) for key, match in found.items() if match}
    return {name: found for name, found in figures.items() if found}


def test_published_figures_are_those_of_the_docs():
    figures = figures_of_the_docs()
    assert len(figures) == 30
    for name in NAMES:
        config, wanted = get_config(name, "full"), figures.get(name, {})
        assert {key: value for key, value in config.published.items() if value is not None} == wanted, name
        assert all(
            f"{value:g}" in importlib.import_module("configs." + name.replace("/", ".")).__doc__
            for value in wanted.values()
        )
        # The figures are not those of a tiny network on generated data.
        assert not any(get_config(name, "smoke").published.values())


def test_unknown_variants_are_refused():
    with pytest.raises(ValueError, match="full and smoke, got 'tiny'"):
        get_config(NAMES[0], "tiny")


def test_averages_start_as_told():
    rate = 0.5 ** (1 / 1000)
    steps = jnp.array([0, 100, 10_000, 10**6])
    decays = {name: np.asarray(warmup(rate, steps)) for name, warmup in WARMUPS.items()}
    np.testing.assert_allclose(decays["none"], rate)
    np.testing.assert_allclose(decays["harmonic"], np.minimum(rate, (1 + steps) / (10 + steps)), rtol=1e-6)
    # After 100 steps the half-life is 5 steps, after 10,000 it would be 500, and then never above 1000.
    np.testing.assert_allclose(decays["half_life"], 0.5 ** np.array([np.inf, 1 / 5, 1 / 500, 1 / 1000]), rtol=1e-5)


@pytest.mark.parametrize("reduction, expected", [("half_mean", 1.0), ("mean", 2.0), ("half_sum", 48.0), ("sum", 96.0)])
def test_reductions_are_of_half_the_squared_error(reduction, expected):
    # Of 48 numbers, each wrong by sqrt(2).
    assert REDUCTIONS[reduction](48) * 0.5 * 48 * 2 == pytest.approx(expected)


def test_generated_data_are_of_the_shape_asked_for_and_always_the_same():
    few, many = (data.load("generated", size=5, channels=2, count=count, num_classes=3) for count in (8, 16))
    assert few.shape == (5, 5, 2) and (len(few.train), len(few.test)) == (6, 2)
    np.testing.assert_array_equal(few.train.x, many.train.x[:6])
    np.testing.assert_array_equal(few.test.label, [0, 1])
    with pytest.raises(ValueError, match="count must be at least 4 images, got 3"):
        data.load("generated", count=3)
