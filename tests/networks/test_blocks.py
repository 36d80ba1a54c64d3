"""Resampling, patches, normalisation and embeddings against plain numpy and flax."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgm_jax.networks.blocks import (
    Conv,
    GroupNorm,
    group_count,
)
from sgm_jax.networks.embeddings import positional_embedding
from sgm_jax.networks.resampling import depth_to_space, downsample, space_to_depth, upsample


def image(h, w, c):
    return jax.random.normal(jax.random.key(h * w * c), (2, h, w, c))


def test_group_norm_agrees_with_flax():
    x = 3.0 + 2.0 * image(5, 6, 24)
    ours, theirs = GroupNorm(), nn.GroupNorm(num_groups=6, epsilon=1e-6)
    params = {"params": {"scale": jnp.linspace(0.5, 2, 24), "bias": jnp.linspace(-1, 1, 24)}}
    np.testing.assert_allclose(ours.apply(params, x), theirs.apply(params, x), atol=1e-5)


@pytest.mark.parametrize("channels, groups", [(128, 32), (256, 32), (24, 6), (3, 1), (10, 2), (28, 7)])
def test_group_count(channels, groups):
    assert group_count(channels) == groups


def test_conv_agrees_with_flax():
    x, layer = image(5, 4, 3), Conv(6)
    params = layer.init(jax.random.key(0), x)
    np.testing.assert_allclose(layer.apply(params, x), nn.Conv(6, (3, 3)).apply(params, x), atol=1e-5)


def test_upsample_repeats_pixels():
    x = image(2, 3, 2)
    np.testing.assert_array_equal(upsample(x), np.repeat(np.repeat(x, 2, axis=1), 2, axis=2))


def test_downsample_undoes_upsample():
    x = image(3, 4, 2)
    np.testing.assert_allclose(downsample(upsample(x)), x, rtol=1e-6)


def test_downsample_repeats_the_edge_of_odd_sizes():
    x = image(3, 5, 1)
    padded = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)), mode="edge")
    np.testing.assert_allclose(downsample(x), padded.reshape(2, 2, 2, 3, 2, 1).mean(axis=(2, 4)), rtol=1e-6)


def test_depth_to_space_undoes_space_to_depth():
    x = image(4, 6, 3)
    deep = space_to_depth(x, 2)
    assert deep.shape == (2, 2, 3, 12)
    np.testing.assert_array_equal(deep[:, 1, 2].reshape(2, 2, 2, 3), x[:, 2:4, 4:6])
    np.testing.assert_array_equal(depth_to_space(deep, 2), x)


def test_positional_embedding_written_out():
    found = positional_embedding(jnp.array([0.0, 3.0]), 6)
    rates = np.array([1.0, 1e-2, 1e-4])
    expected = [np.concatenate([np.sin(value * rates), np.cos(value * rates)]) for value in (0.0, 3.0)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_positional_embedding_refuses_odd_widths():
    with pytest.raises(ValueError, match="got 5"):
        positional_embedding(jnp.ones(1), 5)
