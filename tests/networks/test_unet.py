"""The U-Net against the recorded DDPM++ network, and the properties every image network must have."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgm_jax.networks import UNet


def small(**options):
    return UNet(**{"channels": 8, "multipliers": (1,), "blocks": 1, "attention": (), "dropout": 0.0} | options)


def randomised(network, *args):
    """Draw every weight, so that no zero-initialised layer hides anything."""
    shapes = jax.eval_shape(network.init, jax.random.key(0), *args)
    generator = np.random.default_rng(0)

    def draw(path, leaf):
        offset = 1.0 if jax.tree_util.keystr(path).endswith("['scale']") else 0.0
        return jnp.asarray(offset + 0.2 * generator.standard_normal(leaf.shape), leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def compiled(function):
    """Jit without optimising, since compiling is what takes the time here."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


@functools.cache
def applier(network, deterministic=True):
    def call(params, *args, **options):
        return network.apply(params, *args, deterministic=deterministic, **options)

    return compiled(call)


def apply(network, params, *args, **options):
    return applier(network)(params, *args, **options)


@pytest.mark.parametrize("shape, patch", [((2, 9, 9, 1), 1), ((1, 14, 7, 3), 2), ((2, 5, 6, 2), 2)])
def test_any_size_and_channels_keep_their_shape(shape, patch):
    network, x = small(multipliers=(1, 2), patch=patch), jnp.ones(shape)
    noise_label = jnp.arange(shape[0]) * 100.0
    output = apply(network, randomised(network, noise_label, x), noise_label, x)
    assert output.shape == shape
    assert np.isfinite(output).all() and output.std() > 0


def test_output_is_zero_at_initialisation():
    network, x = small(), jax.random.normal(jax.random.key(0), (2, 8, 8, 1))
    assert not np.any(compiled(network.init_with_output)(jax.random.key(1), jnp.ones(2), x)[0])


def test_every_weight_has_a_finite_gradient():
    network, x = small(attention=(8,), num_classes=3), jax.random.normal(jax.random.key(0), (4, 8, 8, 1))
    noise_label, label = 100.0 * jnp.arange(1, 5), jnp.array([0, 1, 2, 3])
    params = randomised(network, noise_label, x, label)
    gradient = compiled(jax.grad(lambda p: jnp.sum(jnp.square(network.apply(p, noise_label, x, label)))))(params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.isfinite(leaf).all(), path
        # A key's bias shifts all scores of a query alike and cancels in the softmax.
        if "'key'" not in jax.tree_util.keystr(path) or "bias" not in jax.tree_util.keystr(path):
            assert np.any(leaf), path


def test_examples_do_not_see_each_other():
    network, x = small(attention=(8,)), jax.random.normal(jax.random.key(0), (3, 8, 8, 1))
    noise_label = jnp.array([1.0, 50.0, 900.0])
    params = randomised(network, noise_label, x)
    together = apply(network, params, noise_label, x)
    alone = apply(network, params, noise_label[1:2], x[1:2])
    np.testing.assert_allclose(alone[0], together[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("embedding", ["positional", "fourier"])
def test_noise_label_and_class_matter(embedding):
    network, x = small(embedding=embedding, num_classes=2), jnp.ones((1, 8, 8, 1))
    one, label = jnp.ones(1), jnp.zeros(1, jnp.int32)
    params = randomised(network, one, x, label)
    base = apply(network, params, one, x, label)
    assert np.abs(apply(network, params, 2 * one, x, label) - base).max() > 1e-4
    assert np.abs(apply(network, params, one, x, label + 1) - base).max() > 1e-4
    np.testing.assert_array_equal(apply(network, params, one, x, label + 2), apply(network, params, one, x))


def test_fourier_frequencies_are_not_trained():
    network, x = small(embedding="fourier"), jnp.ones((2, 8, 8, 1))
    params = randomised(network, jnp.ones(2), x)
    gradient = compiled(jax.grad(lambda p: network.apply(p, jnp.ones(2), x).sum()))(params)
    assert not np.any(gradient["params"]["embedding"]["fourier"]["frequencies"])


def test_bfloat16_computes_nearly_the_same_with_float32_parameters():
    network, x = small(attention=(8,)), jax.random.normal(jax.random.key(0), (2, 8, 8, 1))
    params = randomised(network, jnp.ones(2), x)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    exact = apply(network, params, jnp.ones(2), x)
    rounded = apply(small(attention=(8,), dtype=jnp.bfloat16), params, jnp.ones(2), x)
    assert rounded.dtype == jnp.float32
    assert 0 < np.abs(rounded - exact).max() < 0.1 * exact.std()


def test_dropout_acts_only_in_training():
    network, x = small(dropout=0.5), jax.random.normal(jax.random.key(0), (2, 8, 8, 1))
    params = randomised(network, jnp.ones(2), x)
    still = apply(network, params, jnp.ones(2), x)
    np.testing.assert_array_equal(still, apply(network, params, jnp.ones(2), x))
    rngs = {"dropout": jax.random.key(2)}
    assert np.abs(applier(network, deterministic=False)(params, jnp.ones(2), x, rngs=rngs) - still).max() > 1e-3


@pytest.mark.parametrize(
    "options, words",
    [
        ({"embedding": "sine"}, "'sine'"),
        ({"blocks": 0}, "blocks"),
        ({"multipliers": ()}, "multipliers"),
        ({"heads": 3}, "heads"),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(small(**options).init, jax.random.key(0), jnp.ones(1), jnp.ones((1, 8, 8, 1)))


def test_label_without_classes_is_refused():
    with pytest.raises(ValueError, match="num_classes=0"):
        jax.eval_shape(small().init, jax.random.key(0), jnp.ones(1), jnp.ones((1, 8, 8, 1)), jnp.zeros(1, jnp.int32))
