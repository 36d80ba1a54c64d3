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


FIR = (1, 3, 3, 1)
VARIANTS = {
    "ddpmpp": {},
    "ncsnpp": dict(resample_filter=FIR, progressive_input="residual", embedding="log_fourier", output_divisor="label"),
    "ncsnpp_skip": dict(
        resample_filter=FIR,
        progressive_input="input_skip",
        progressive_output="output_skip",
        progressive_combine="cat",
        data_range=(0.0, 1.0),
    ),
    "ddpm": dict(resampling="conv", skip_scale=1.0, group_size=1, output_divisor=(50.0, 0.01, 10)),
    "residual_output": dict(resampling="filter", progressive_output="residual", embedding="none"),
    "adm": dict(
        conditioning="scale_shift",
        skip_projection="channels",
        head_channels=4,
        up_attention="block",
        attention=(5,),
        freq_shift=0,
        embedding_order="cos_sin",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [name if name in ("ncsnpp_skip", "adm") else pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS],
)
def test_every_variant_starts_at_zero_and_can_learn_on_odd_sizes(name):
    network = small(**{"multipliers": (1, 2)} | VARIANTS[name])
    x, noise_label = jax.random.normal(jax.random.key(0), (2, 9, 7, 3)), jnp.array([0.1, 2.0])
    params = jax.jit(network.init, compiler_options={"xla_backend_optimization_level": 0})(
        jax.random.key(1), noise_label, x
    )

    def loss(params):
        output = network.apply(params, noise_label, x)
        return jnp.sum(jnp.square(output - 1)), output

    gradient, output = compiled(jax.grad(loss, has_aux=True))(params)
    assert output.shape == x.shape and not np.any(output)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert any(np.any(leaf) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("size", [28, 33])
def test_every_variant_keeps_any_size(name, size):
    network = small(**{"multipliers": (1, 1, 2, 2), "out_channels": 2} | VARIANTS[name])
    output = jax.eval_shape(network.init_with_output, jax.random.key(0), jnp.ones(1), jnp.ones((1, size, size, 5)))[0]
    assert output.shape == (1, size, size, 2)


@pytest.mark.slow
def test_recomputing_blocks_changes_nothing():
    x, noise_label = jax.random.normal(jax.random.key(0), (2, 8, 8, 1)), jnp.array([1.0, 50.0])
    options = dict(attention=(8,), dropout=0.3)
    params = randomised(small(**options), noise_label, x)
    rngs = {"dropout": jax.random.key(3)}

    def output_and_gradient(remat):
        def loss(params):
            output = small(**options, remat=remat).apply(params, noise_label, x, deterministic=False, rngs=rngs)
            return jnp.sum(jnp.square(output)), output

        return compiled(jax.value_and_grad(loss, has_aux=True))(params)

    for found, expected in zip(*map(jax.tree.leaves, map(output_and_gradient, ("block", "none"))), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_output_is_divided_by_the_noise_level():
    """By the label itself, or by the level that the label counts."""
    x, noise_label = jax.random.normal(jax.random.key(0), (3, 8, 8, 1)), jnp.array([0.0, 4.0, 9.0])
    params = randomised(small(), noise_label, x)
    plain = apply(small(), params, noise_label, x)
    divided = apply(small(output_divisor=(50.0, 0.01, 10)), params, noise_label, x)
    levels = np.geomspace(50.0, 0.01, 10)[[0, 4, 9]]
    np.testing.assert_allclose(divided * levels[:, None, None, None], plain, rtol=1e-3, atol=1e-4)
    by_label = apply(small(output_divisor="label"), params, noise_label + 1, x)
    np.testing.assert_allclose(by_label[1] * 5, apply(small(), params, noise_label + 1, x)[1], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_images_of_another_range_are_centred():
    x, noise_label = jax.random.uniform(jax.random.key(0), (2, 8, 8, 1)), jnp.ones(2)
    params = randomised(small(), noise_label, x)
    found = apply(small(data_range=(0.0, 1.0)), params, noise_label, x)
    np.testing.assert_allclose(found, apply(small(), params, noise_label, 2 * x - 1), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
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
    options = dict(attention=(8,), conditioning="scale_shift", progressive_output="output_skip")
    network, x = small(**options), jax.random.normal(jax.random.key(0), (2, 8, 8, 1))
    params = randomised(network, jnp.ones(2), x)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    exact = apply(network, params, jnp.ones(2), x)
    rounded = apply(small(**options, dtype=jnp.bfloat16), params, jnp.ones(2), x)
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
        ({"resampling": "fir"}, "resampling"),
        ({"progressive_input": "skip"}, "input_skip"),
        ({"progressive_output": "skip"}, "output_skip"),
        ({"conditioning": "adaptive"}, "conditioning"),
        ({"skip_projection": "all"}, "skip_projection"),
        ({"output_divisor": "sigma"}, "output_divisor"),
        ({"data_range": (1.0, 1.0)}, "data_range"),
        ({"embedding": "none", "num_classes": 2}, "num_classes"),
        ({"class_embedding": "table", "num_classes": 2}, "class_embedding"),
        ({"remat": "all"}, "remat"),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(small(**options).init, jax.random.key(0), jnp.ones(1), jnp.ones((1, 8, 8, 1)))


def test_label_without_classes_is_refused():
    with pytest.raises(ValueError, match="num_classes=0"):
        jax.eval_shape(small().init, jax.random.key(0), jnp.ones(1), jnp.ones((1, 8, 8, 1)), jnp.zeros(1, jnp.int32))
