"""The RefineNets' parts against scipy, their sizes against the published ones, and what every image network must do."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from sgm_jax.networks import RefineNet, ncsn, ncsnv2, ncsnv2_deeper, ncsnv2_deepest
from sgm_jax.networks.refinenet import POOLINGS, pool, resize

LABEL = jnp.array([0, 2])
NETWORKS = {"ncsn": functools.partial(ncsn, 3), "ncsnv2": functools.partial(ncsnv2, 5.0, 0.1, 3)}


def small(name="ncsnv2", **options):
    return NETWORKS[name](**{"channels": 4, "multipliers": (1, 2), "dilations": (1, 1)} | options)


def compiled(function):
    """Jit without optimising, since compiling is what takes the time here."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def images(*shape):
    return jnp.asarray(np.random.default_rng(0).uniform(size=shape), jnp.float32)


@functools.cache
def applier(network):
    return compiled(network.apply)


@functools.cache
def drawn(network, *shape):
    """Draw parameters in numpy, which compiles nothing."""
    shapes = jax.eval_shape(network.init, jax.random.key(0), LABEL[: shape[0]], jnp.zeros(shape))
    generator = np.random.default_rng(0)

    def draw(path, leaf):
        scale = 0.1 if leaf.ndim < 4 else np.prod(leaf.shape[:-1]) ** -0.5
        offset = 1.0 if path[-1].key in ("scale", "alpha") else 0.0
        return jnp.asarray(offset + scale * generator.standard_normal(leaf.shape), leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.mark.parametrize(
    "network, channels, count",
    [
        (ncsn(), 3, 30_117_635),
        (ncsn(232), 3, 39_750_659),
        (ncsn(500), 3, 51_379_715),
        (ncsn(channels=64), 1, 7_638_657),
        (ncsnv2(), 3, 29_694_083),
        (ncsnv2_deeper(), 3, 83_445_379),
        (ncsnv2_deepest(), 3, 94_132_611),
    ],
    ids=["ncsn", "ncsn_232", "ncsn_500", "ncsn_mnist", "ncsnv2", "ncsnv2_deeper", "ncsnv2_deepest"],
)
def test_parameter_counts_are_the_published_ones(network, channels, count):
    shapes = jax.eval_shape(network.init, jax.random.key(0), LABEL, jnp.zeros((2, 16, 16, channels)))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == count


@pytest.mark.parametrize("old, new", [((5, 7), (9, 12)), ((4, 6), (1, 3)), ((1, 3), (4, 3)), ((17, 17), (33, 33))])
def test_resizing_interpolates_linearly_between_corners(old, new):
    x = images(2, *old, 3)
    expected = np.asarray(x)
    for axis in (0, 1):
        at, points = np.linspace(0, old[axis] - 1, new[axis]), np.arange(old[axis])
        expected = np.apply_along_axis(lambda line: np.interp(at, points, line), axis + 1, expected)  # noqa: B023
    np.testing.assert_allclose(resize(x, new), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name, reference",
    [
        ("average", functools.partial(scipy.ndimage.uniform_filter, mode="constant")),
        ("max", functools.partial(scipy.ndimage.maximum_filter, mode="constant", cval=-np.inf)),
    ],
)
def test_pooling_is_a_filter_of_five_by_five(name, reference):
    x = images(2, 9, 4, 3) - 0.5
    np.testing.assert_allclose(pool(x, POOLINGS[name]), reference(x, size=(1, 5, 5, 1)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 33, 33, 3), (1, 7, 10, 2)])
@pytest.mark.parametrize("name", NETWORKS)
def test_any_size_and_channels_keep_their_shape(name, shape):
    network = small(name)
    output = applier(network)(drawn(network, *shape), LABEL[: shape[0]], images(*shape))
    assert output.shape == shape
    assert np.isfinite(output).all() and output.std() > 0


def gradient(network):
    loss = lambda params: jnp.mean(jnp.square(network.apply(params, LABEL, images(2, 8, 8, 3))))
    return jax.grad(loss)


@pytest.mark.parametrize("name", [pytest.param("ncsn", marks=pytest.mark.slow), "ncsnv2"])
@pytest.mark.slow
def test_every_weight_has_a_finite_gradient_at_the_start(name):
    network = small(name)
    params = compiled(network.init)(jax.random.key(0, impl="unsafe_rbg"), LABEL, images(2, 8, 8, 3))
    grads = compiled(gradient(network))(params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        assert np.isfinite(leaf).all() and np.any(leaf), path


@pytest.mark.slow
def test_remat_gives_the_same_gradient():
    params, again = drawn(small(), 2, 8, 8, 3), gradient(small(remat="block"))
    assert "remat" in str(jax.make_jaxpr(again)(params))
    for (path, leaf), other in zip(
        jax.tree_util.tree_leaves_with_path(compiled(gradient(small()))(params)),
        jax.tree.leaves(compiled(again)(params)),
        strict=True,
    ):
        np.testing.assert_allclose(other, leaf, rtol=1e-3, atol=1e-5 * np.abs(leaf).max(), err_msg=str(path))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.slow
def test_bfloat16_computes_nearly_the_same_with_float32_parameters(name):
    x, params = images(2, 8, 8, 3), drawn(small(name), 2, 8, 8, 3)
    exact = applier(small(name))(params, LABEL, x)
    rounded = applier(small(name, dtype=jnp.bfloat16))(params, LABEL, x)
    assert rounded.dtype == jnp.float32
    shapes = jax.eval_shape(small(name, dtype=jnp.bfloat16).init, jax.random.key(0), LABEL, x)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(shapes))
    assert np.all(0 < np.abs(rounded - exact).max((1, 2, 3)))
    assert np.all(np.abs(rounded - exact).max((1, 2, 3)) < 0.1 * exact.std((1, 2, 3)))


def test_only_the_division_by_sigma_depends_on_the_level_in_ncsnv2():
    network, x = small(), images(1, 8, 8, 3).repeat(2, 0)
    output = applier(network)(drawn(network, 2, 8, 8, 3), LABEL, x)
    np.testing.assert_allclose(output[0] * 5.0, output[1] * 0.1, rtol=1e-4, atol=1e-6)


def test_each_level_has_its_own_normalisation_in_ncsn():
    network, x = small("ncsn"), images(1, 8, 8, 3).repeat(2, 0)
    output = applier(network)(drawn(network, 2, 8, 8, 3), LABEL, x)
    assert np.abs(output[0] - output[1]).max() > 1e-2 * output.std()


def test_data_range_is_centred():
    x, params = images(2, 8, 8, 3), drawn(small(), 2, 8, 8, 3)
    centred = applier(small(data_range=(-1.0, 1.0)))(params, LABEL, 2 * x - 1)
    np.testing.assert_allclose(applier(small())(params, LABEL, x), centred, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"channels": 1}, "channels must be at least 2, got 1"),
        ({"multipliers": ()}, "multipliers"),
        ({"dilations": (1,)}, "dilations must be 2"),
        ({"pool": "min"}, "average, max, got 'min'"),
        ({"remat": "all"}, "none, block, got 'all'"),
        ({"sigmas": (1.0, 0.0)}, "sigmas"),
        ({"data_range": (1.0, 0.0)}, "data_range"),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(small(**options).init, jax.random.key(0), LABEL, jnp.ones((2, 8, 8, 1)))


@pytest.mark.parametrize("network", [ncsn, ncsnv2, ncsnv2_deeper, ncsnv2_deepest])
def test_unknown_options_are_named_with_the_nearest(network):
    with pytest.raises(ValueError, match="did you mean 'channels'"):
        network(chanels=8)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"label": jnp.zeros(2, jnp.int32)}, "^label"),
        ({"augment": jnp.zeros((2, 9))}, "^augment"),
        ({"noise_label": jnp.zeros(2)}, "^noise_label must hold integer"),
    ],
)
def test_other_labels_are_refused(given, words):
    inputs = {"noise_label": LABEL, "x": jnp.ones((2, 8, 8, 1))} | given
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(lambda: RefineNet().init(jax.random.key(0), **inputs))
