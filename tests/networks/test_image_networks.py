"""The properties that every network on images must have: DiT in both forms, the VDM network, the classifier."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_weights import compiled, randomised

from sgm_jax.networks import DiT, VDMUNet, WideResNet

DIT = {"width": 16, "depth": 1, "heads": 2}
NETWORKS = {
    "sincos": functools.partial(DiT, **DIT),
    "rope": functools.partial(DiT, **DIT, positions="rope"),
    "vdm": functools.partial(VDMUNet, channels=8, layers=1, dropout=0.0),
    "wide_resnet": functools.partial(WideResNet, classes=5, blocks=1, width=1, fourier_scale=1.0),
}
DENOISERS = ("sincos", "rope", "vdm")
LABEL = {"sincos": 100.0, "rope": 100.0, "vdm": 1.0, "wide_resnet": 1.0}  # the range of the noise labels


def images(*shape, key=0):
    return jax.random.normal(jax.random.key(key), shape)


@pytest.mark.parametrize("shape", [(2, 28, 28, 1), (1, 33, 9, 3), (2, 5, 6, 2)])
@pytest.mark.parametrize("name", NETWORKS)
def test_any_size_and_channels(name, shape):
    network, x, noise_label = NETWORKS[name](), images(*shape), jnp.linspace(0.1, 1.0, shape[0]) * LABEL[name]
    output = compiled(network.apply)(randomised(network, noise_label, x), noise_label, x)
    assert output.shape == ((shape[0], 5) if name == "wide_resnet" else shape)
    assert np.isfinite(output).all() and output.std() > 0


@pytest.mark.parametrize("name", DENOISERS)
def test_starts_at_zero_and_at_its_input(name):
    network, x = NETWORKS[name](), images(2, 6, 6, 2)
    output = compiled(network.init_with_output)(jax.random.key(1), jnp.ones(2), x)[0]
    np.testing.assert_array_equal(output, x if name == "vdm" else jnp.zeros_like(x))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.slow
def test_every_weight_has_a_finite_gradient(name):
    options = {"num_classes": 3, "augment_labels": 2} if name in DENOISERS else {}
    network, x = NETWORKS[name](**options), images(4, 8, 8, 1)
    noise_label = jnp.linspace(0.1, 1.0, 4) * LABEL[name]
    args = (noise_label, x, jnp.arange(4), images(4, 2)) if options else (noise_label, x)
    params = randomised(network, *args)
    gradient = compiled(jax.grad(lambda p: jnp.sum(jnp.square(network.apply(p, *args)))))(params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        path = jax.tree_util.keystr(path)
        assert np.isfinite(leaf).all(), path
        # A key's bias shifts all scores of a query alike and cancels in the softmax; frequencies are never trained.
        if not path.endswith("['key']['bias']") and "frequencies" not in path:
            assert np.any(leaf), path


@pytest.mark.parametrize("name", NETWORKS)
def test_examples_do_not_see_each_other(name):
    network, x, noise_label = NETWORKS[name](), images(3, 8, 8, 1), jnp.array([0.1, 0.5, 0.9]) * LABEL[name]
    params = randomised(network, noise_label, x)
    together = compiled(network.apply)(params, noise_label, x)
    alone = compiled(network.apply)(params, noise_label[1:2], x[1:2])
    np.testing.assert_allclose(alone[0], together[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_computes_nearly_the_same_with_float32_parameters(name):
    network, x, noise_label = NETWORKS[name](), images(2, 8, 8, 1), jnp.full(2, 0.3) * LABEL[name]
    params = randomised(network, noise_label, x, size=0.1)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    exact = compiled(network.apply)(params, noise_label, x)
    rounded = compiled(NETWORKS[name](dtype=jnp.bfloat16).apply)(params, noise_label, x)
    assert rounded.dtype == jnp.float32
    assert 0 < np.abs(rounded - exact).max() < 0.1 * exact.std()


@pytest.mark.slow
@pytest.mark.parametrize("name", DENOISERS)
def test_recomputing_blocks_changes_nothing(name):
    x, noise_label = images(2, 6, 6, 1), jnp.full(2, 0.3) * LABEL[name]
    stored, recomputed = (NETWORKS[name](remat=remat, dropout=0.2) for remat in ("none", "block"))
    params = randomised(stored, noise_label, x)

    def loss(network, params):
        options = {"deterministic": False, "rngs": {"dropout": jax.random.key(3)}}
        return jnp.sum(jnp.square(network.apply(params, noise_label, x, **options)))

    first, second = (compiled(jax.grad(functools.partial(loss, network)))(params) for network in (stored, recomputed))
    assert jax.tree.structure(first) == jax.tree.structure(second)
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(first))
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6 * largest)
    jaxpr = str(jax.make_jaxpr(functools.partial(loss, recomputed))(params))
    assert "remat" in jaxpr or "checkpoint[" in jaxpr


@pytest.mark.parametrize("name", DENOISERS)
def test_noise_level_and_class_matter_in_every_form(name):
    network, x, one = NETWORKS[name](num_classes=3), images(1, 6, 6, 1), jnp.full(1, 0.3) * LABEL[name]
    apply = compiled(network.apply)
    params = randomised(network, one, x, jnp.zeros(1, jnp.int32))
    outputs = [apply(params, one, x, jnp.full(1, i)) for i in range(4)]
    assert min(np.abs(a - b).max() for i, a in enumerate(outputs) for b in outputs[:i]) > 1e-4
    assert np.abs(apply(params, 2 * one, x, jnp.zeros(1, jnp.int32)) - outputs[0]).max() > 1e-4
    np.testing.assert_allclose(apply(params, one, x), outputs[3], rtol=1e-5, atol=1e-5)
    for i, output in enumerate(outputs[:3]):
        np.testing.assert_allclose(
            apply(params, one, x, jax.nn.one_hot(jnp.full(1, i), 3)), output, rtol=1e-5, atol=1e-5
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_dropout_acts_only_in_training(name):
    network, x, noise_label = NETWORKS[name](dropout=0.5), images(2, 6, 6, 1), jnp.full(2, 0.3) * LABEL[name]
    params = randomised(network, noise_label, x)
    still = compiled(network.apply)(params, noise_label, x)
    np.testing.assert_array_equal(still, compiled(NETWORKS[name](dropout=0.0).apply)(params, noise_label, x))
    train = functools.partial(network.apply, deterministic=False, rngs={"dropout": jax.random.key(2)})
    trained = compiled(train)(params, noise_label, x)
    assert np.abs(trained - still).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("sincos", {"heads": 3}, "heads must divide width=16, got 3"),
        ("sincos", {"width": 18}, "width must be a multiple of 4 for positions 'sincos', got 18"),
        ("sincos", {"positions": "learned"}, "positions must be one of sincos, rope, got 'learned'"),
        ("sincos", {"depth": 0}, "depth must be at least 1, got 0"),
        ("sincos", {"remat": "blocks"}, "did you mean 'block'"),
        ("rope", {"heads": 8}, "width / heads must be a multiple of 4 for positions 'rope', got 2"),
        ("vdm", {"gamma_min": 5.0}, "gamma_min must be below gamma_max=5.0, got 5.0"),
        ("vdm", {"attention": "all"}, "attention must be one of middle, every, got 'all'"),
        ("vdm", {"layers": 0}, "layers must be at least 1, got 0"),
        ("wide_resnet", {"blocks": 0}, "blocks must be at least 1, got 0"),
        ("wide_resnet", {"embedding": "sine"}, "'sine'"),
    ],
)
def test_wrong_options_are_named(name, options, words):
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(NETWORKS[name](**options).init, jax.random.key(0), jnp.ones(1), jnp.ones((1, 6, 6, 1)))
