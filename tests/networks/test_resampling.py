"""Filters that change the resolution, against scipy; patches to channels and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from sgm_jax.networks.blocks import Conv
from sgm_jax.networks.resampling import before_strided, depth_to_space, downsample, space_to_depth, upsample

BINOMIAL = (1, 3, 3, 1)
TAPS = pytest.mark.parametrize("taps", [(1, 1), (1, 2, 1), BINOMIAL, (1, 5, 10, 10, 5, 1)])


def image(h, w, c):
    return jax.random.normal(jax.random.key(h * w * c), (2, h, w, c))


def upfirdn(x, taps, up, down, before, after):
    """Resample height and width with StyleGAN2's conventions: zeros between, padding, filter, every `down`-th."""
    x, filter = np.asarray(x, np.float64), up * np.array(taps) / sum(taps)
    for axis in (1, 2):
        stuffed = scipy.signal.upfirdn([1.0], x, up=up, axis=axis)
        missing = up * x.shape[axis] - stuffed.shape[axis]
        stuffed = np.pad(stuffed, [(before, after + missing) if i == axis else (0, 0) for i in range(4)])
        filtered = scipy.signal.upfirdn(filter, stuffed, axis=axis)
        inside = np.arange(len(taps) - 1, stuffed.shape[axis], down)
        x = np.take(filtered, inside, axis=axis)
    return x


@TAPS
def test_downsample_agrees_with_upfirdn(taps):
    x, extra = image(6, 4, 3), len(taps) - 2
    expected = upfirdn(x, taps, 1, 2, (extra + 1) // 2, extra // 2)
    assert expected.shape == (2, 3, 2, 3)
    np.testing.assert_allclose(downsample(x, taps), expected, atol=1e-6)


@TAPS
def test_upsample_agrees_with_upfirdn(taps):
    x, extra = image(6, 5, 3), len(taps) - 2
    expected = upfirdn(x, taps, 2, 1, (extra + 1) // 2 + 1, extra // 2)
    assert expected.shape == (2, 12, 10, 3)
    np.testing.assert_allclose(upsample(x, taps), expected, atol=1e-6)


def test_strided_convolution_follows_the_filter():
    x, layer = image(6, 4, 3), Conv(5, stride=2)
    params = layer.init(jax.random.key(0), x)
    blurred = jnp.asarray(upfirdn(x, BINOMIAL, 1, 1, 2, 2), jnp.float32)
    expected = jax.lax.conv_general_dilated(
        blurred, params["params"]["kernel"], (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    found = layer.apply(params, before_strided(x, BINOMIAL, (0, 1)))
    assert found.shape == (2, 3, 2, 5)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("padding", [(0, 1), (1, 1)])
@pytest.mark.parametrize("size", [6, 7])
def test_strided_convolution_without_a_filter_halves_rounding_up(size, padding):
    padded = before_strided(image(size, size, 1), (1, 1), padding)
    assert (padded.shape[1] - 3) // 2 + 1 == -(-size // 2)
    assert not np.any(padded[:, : padding[0]]) and not np.any(padded[:, -padding[1] :])


def test_upsample_repeats_pixels():
    x = image(2, 3, 2)
    np.testing.assert_array_equal(upsample(x), np.repeat(np.repeat(x, 2, axis=1), 2, axis=2))


def test_downsample_undoes_upsample():
    x = image(3, 4, 2)
    np.testing.assert_allclose(downsample(upsample(x)), x, rtol=1e-6)


def test_downsample_repeats_the_edge_of_odd_sizes():
    x = image(3, 5, 1)
    padded = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)), mode="edge")
    np.testing.assert_allclose(downsample(x), padded.reshape(2, 2, 2, 3, 2, 1).mean(axis=(2, 4)), atol=1e-6)


def test_depth_to_space_undoes_space_to_depth():
    x = image(4, 6, 3)
    deep = space_to_depth(x, 2)
    assert deep.shape == (2, 2, 3, 12)
    np.testing.assert_array_equal(deep[:, 1, 2].reshape(2, 2, 2, 3), x[:, 2:4, 4:6])
    np.testing.assert_array_equal(depth_to_space(deep, 2), x)
