"""NCSN's and NCSNv2's checkpoints against recorded outputs, sampling from them, and what is said of bad ones."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recorded import load

import sgm_jax as sgm
from sgm_jax.convert.ncsn import ncsn
from sgm_jax.sampling.langevin import annealed_langevin, langevin_levels

FILES = ["ncsn", "ncsn_mnist", "ncsnv2", "ncsnv2_deeper", "ncsnv2_deepest"]


@functools.cache
def recorded(name):
    return load(f"{name}.npz")


@functools.cache
def converted(name):
    state, _, config = recorded(name)
    return ncsn(state, config)


def compiled(function):
    """Jit without optimising, since compiling is what takes the time here."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


@pytest.mark.parametrize("name", FILES)
def test_reproduces_recorded_outputs(name):
    _, arrays, _ = recorded(name)
    pretrained = converted(name)
    x, labels = jnp.asarray(arrays["x"].transpose(0, 2, 3, 1)), jnp.asarray(arrays["labels"], jnp.int32)
    output = compiled(pretrained.apply)(labels, x).transpose(0, 3, 1, 2)
    assert np.abs(output - arrays["output"]).max() < 1e-4 * arrays["output"].std()


def test_score_at_a_noise_level_is_the_output_for_its_index():
    _, arrays, config = recorded("ncsnv2")
    pretrained, model = converted("ncsnv2"), config["model"]
    sigmas = np.geomspace(model["sigma_begin"], model["sigma_end"], model["num_classes"])
    x, expected = (arrays[key].transpose(0, 2, 3, 1) for key in ("x", "output"))
    t = pretrained.sde.t(sigmas[arrays["labels"]])
    score = compiled(pretrained.score_fn)(t, jnp.asarray(x))
    np.testing.assert_allclose(score, expected, rtol=1e-3, atol=1e-4 * expected.std())


@pytest.mark.parametrize("name", FILES)
def test_every_level_of_the_schedule_is_fed_its_own_index(name):
    pretrained, count = converted(name), recorded(name)[2]["model"]["num_classes"]
    levels = langevin_levels(pretrained.sde, count)
    t = pretrained.sde.t(jnp.asarray(levels, jnp.float32))
    index = pretrained.prediction.inputs(pretrained.sde, t, jnp.zeros((count + 1, 1)))[0]
    np.testing.assert_array_equal(index, [*range(count), count - 1])


@pytest.mark.parametrize("name", [pytest.param("ncsn_mnist", marks=pytest.mark.slow), "ncsnv2"])
@pytest.mark.slow
def test_annealed_langevin_runs_through_a_converted_network(name):
    _, _, config = recorded(name)
    pretrained, model = converted(name), config["model"]
    solver = annealed_langevin(config["sampling"]["step_lr"], model["sigma_end"], steps=1)
    options = dict(solver=solver, schedule=langevin_levels, steps=model["num_classes"])

    @jax.jit
    def run(key, score):
        x_init = jax.random.uniform(key, (2, 8, 8, config["data"]["channels"]))
        return sgm.sample(key, sgm.ReverseSDE(pretrained.sde, score), x_init.shape, x_init=x_init, **options)

    out = run(jax.random.key(0), pretrained.score_fn)
    assert np.isfinite(out.x).all() and out.x.std() > 0
    assert int(out.nfe) == model["num_classes"] + 1


def changed(config, section, **flags):
    return config | {section: config[section] | flags}


def test_prefix_and_activation_and_range_follow_the_checkpoint():
    state, _, config = recorded("ncsnv2")
    config = changed(changed(config, "model", nonlinearity="swish"), "data", rescaled=True)
    network = ncsn({f"module.{name}": tensor for name, tensor in state.items()}, config).network
    assert network.activation(1.0) == pytest.approx(1 / (1 + np.exp(-1)))
    assert network.data_range == (-1.0, 1.0)


@pytest.mark.parametrize("name", ["ncsn_mnist", "ncsnv2"])
def test_all_tensors_that_do_not_fit_are_named_at_once(name):
    state, _, config = recorded(name)
    norm = "normalizer.embed.weight" if name == "ncsn_mnist" else "normalizer.alpha"
    state = {key: tensor for key, tensor in state.items() if key not in (norm, "refine2.crp.convs.1.weight")}
    state |= {"res6.0.conv1.weight": np.zeros(1), "res2.0.shortcut.conv.weight": np.zeros((2, 2, 1, 1))}
    with pytest.raises(ValueError) as error:
        ncsn(state, config)
    for word in (norm, "refine2.crp.convs.1.weight", "res6.0.conv1.weight", "res2.0.shortcut.conv.weight"):
        assert word in str(error.value)


@pytest.mark.parametrize(
    "section, flags, words",
    [
        ("model", {"sigma_dist": "cosine"}, "model.sigma_dist must be one of geometric, uniform, got 'cosine'"),
        ("model", {"nonlinearity": "gelu"}, "model.nonlinearity .* got 'gelu'"),
        ("model", {"sigma_begin": 40}, "sigmas must be the config's, 20 from 40 to 0.01"),
        ("model", {"ngf": ...}, "config must have model.ngf"),
        ("data", {"channels": ...}, "config must have data.channels"),
    ],
)
def test_wrong_flags_are_named(section, flags, words):
    state, _, config = recorded("ncsnv2")
    with pytest.raises(ValueError, match=words):
        ncsn(state, changed(config, section, **flags))
