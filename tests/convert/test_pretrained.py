"""A network's own file: everything comes back, and whatever does not fit is named."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import sgm_jax as sgm
from sgm_jax.convert import Pretrained
from sgm_jax.convert.description import describe, restore
from sgm_jax.networks import MLP, UNet
from sgm_jax.scaling import Scaling
from sgm_jax.score import EDMPreconditioned, Noise, Score


def small(prediction=None, sde=None):
    network = UNet(channels=8, multipliers=(1, 2), blocks=1, attention=(), num_classes=3)
    params = jax.eval_shape(network.init, jax.random.key(0), jnp.ones(1), jnp.zeros((1, 4, 4, 2)))["params"]
    # Drawn, so that no layer that starts at zero hides an error.
    leaves, tree = jax.tree.flatten(params)
    generator = np.random.default_rng(1)
    drawn = [jnp.asarray(generator.standard_normal(leaf.shape) / 4, jnp.float32) for leaf in leaves]
    return Pretrained(
        network,
        jax.tree.unflatten(tree, drawn),
        sde or sgm.VE(0.02, 30.0),
        prediction or Score(),
        {"model.nf": 8, "sizes": (1, 2)},
        (4, 4, 2),
        Scaling(256, 0.0, 1.0),
        {"format": "none"},
    )


def test_everything_comes_back_bit_for_bit(tmp_path):
    saved = small()
    saved.save(tmp_path / "model.safetensors")
    loaded = Pretrained.load(tmp_path / "model.safetensors")
    for field in ("network", "sde", "prediction", "shape", "scaling", "card"):
        assert getattr(loaded, field) == getattr(saved, field), field
    assert loaded.config == {"model.nf": 8, "sizes": [1, 2]}
    assert jax.tree.structure(loaded.params) == jax.tree.structure(saved.params)
    jax.tree.map(np.testing.assert_array_equal, loaded.params, saved.params)
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.slow
def test_score_function_comes_back(tmp_path):
    saved = small(EDMPreconditioned(0.7), sgm.VP())
    saved.save(tmp_path / "model.safetensors")
    loaded = Pretrained.load(tmp_path / "model.safetensors")
    t, x, label = jnp.array([0.2, 0.9]), jax.random.normal(jax.random.key(2), (2, 4, 4, 2)), jnp.array([0, 2])
    evaluate = jax.jit(lambda score_fn: score_fn(t, x))
    np.testing.assert_array_equal(evaluate(loaded.conditional(label)), evaluate(saved.conditional(label)))
    assert jnp.abs(evaluate(loaded.conditional(label)) - evaluate(loaded.score_fn)).max() > 1e-3


def test_float16_halves_the_file_and_rounds_to_half_precision(tmp_path):
    saved = small()
    for dtype in ("float32", "float16"):
        saved.save(tmp_path / dtype, dtype)
    loaded = Pretrained.load(tmp_path / "float16")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2**-10, atol=1e-7), loaded.params, saved.params)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(loaded.params))
    large = dataclasses.replace(saved, params=jax.tree.map(lambda leaf: leaf * 1e6, saved.params))
    with pytest.raises(ValueError, match="stem/kernel"):
        large.save(tmp_path / "large", "float16")
    with pytest.raises(ValueError, match="did you mean 'float16'"):
        saved.save(tmp_path / "model", "float6")


def test_tensors_that_do_not_fit_are_all_named(tmp_path):
    path = tmp_path / "model.safetensors"
    small().save(path)
    tensors = safetensors.numpy.load_file(path)
    with safetensors.safe_open(path, "numpy") as file:
        metadata = file.metadata()
    del tensors["head/bias"]
    tensors |= {"surplus": np.zeros(3, np.float32), "stem/bias": np.zeros(5, np.float32)}
    safetensors.numpy.save_file(tensors, path, metadata)
    with pytest.raises(ValueError) as error:
        Pretrained.load(path)
    for part in ("missing: head/bias", "unexpected: surplus", "stem/bias ([5], expected [8])"):
        assert part in str(error.value)


def test_parameters_of_another_network_are_not_saved(tmp_path):
    wrong = dataclasses.replace(small(), network=UNet(channels=8, multipliers=(1,), blocks=1, num_classes=3))
    with pytest.raises(ValueError, match="unexpected: .*down_1_block_0"):
        wrong.save(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="shape"):
        dataclasses.replace(small(), shape=None).save(tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "value",
    [
        sgm.VP(0.2, 15.0),
        sgm.EDM(),
        sgm.Cosine(),
        EDMPreconditioned(0.3),
        Noise(),
        MLP(width=7, dtype=jnp.bfloat16),
        Scaling(None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_descriptions_are_json_and_come_back(value):
    assert restore(json.loads(json.dumps(describe(value)))) == value


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"name": "VPP"}, "did you mean 'VP'"),
        ({"name": "system", "command": "true"}, "name must be one of"),
        ({"name": "VE", "sigma_maxx": 1.0}, "did you mean 'sigma_max'"),
        ({"command": 1}, "name must be one of"),
    ],
)
def test_descriptions_make_this_librarys_objects_alone(description, message):
    with pytest.raises(ValueError, match=message):
        restore(description)


def test_functions_of_the_users_cannot_be_described():
    with pytest.raises(ValueError, match="cannot be saved"):
        describe(sgm.LinearSDE(lambda t: 1 - t, lambda t: t))
