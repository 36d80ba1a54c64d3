"""Resampling, patches, normalisation and embeddings against plain numpy and flax."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgm_jax.networks import blocks
from sgm_jax.networks.blocks import Attention, Conv, GroupNorm, ResidualBlock, group_count
from sgm_jax.networks.embeddings import ConditionEmbedding, positional_embedding


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


def test_group_norm_of_single_channels_is_instance_norm():
    x = image(5, 6, 8)
    normed = GroupNorm(group_size=1).apply({"params": {"scale": jnp.ones(8), "bias": jnp.zeros(8)}}, x)
    np.testing.assert_allclose(normed.mean(axis=(1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(normed.std(axis=(1, 2)), 1, rtol=1e-4)


@pytest.mark.slow
def test_channels_a_head_are_another_way_to_give_the_heads():
    x = image(3, 4, 8)
    by_count, by_size = Attention(heads=4, init_scale=1.0), Attention(head_channels=2, init_scale=1.0)
    params = by_count.init(jax.random.key(0), x)
    np.testing.assert_array_equal(by_size.apply(params, x), by_count.apply(params, x))
    with pytest.raises(ValueError, match="head_channels must divide the 8 channels"):
        Attention(head_channels=3).init(jax.random.key(0), x)


@pytest.mark.slow
def test_scale_shift_acts_after_the_norm():
    """With a condition that gives constants, the second norm's own scale and bias do the same."""
    x, block = image(4, 4, 8), ResidualBlock(8, conditioning="scale_shift", init_scale=1.0)
    embedding = jnp.zeros((2, 3))
    params = block.init(jax.random.key(0), x, embedding)["params"]
    told, equal = jax.tree.map(lambda leaf: leaf, params), jax.tree.map(lambda leaf: leaf, params)
    told["condition"]["bias"] = jnp.arange(16) / 10.0
    equal["norm_1"] = {"scale": 1 + jnp.arange(8) / 10.0, "bias": jnp.arange(8, 16) / 10.0}
    found, expected = (block.apply({"params": p}, x, embedding) for p in (told, equal))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - block.apply({"params": params}, x, embedding)).max() > 0.1


@pytest.mark.parametrize("where, projected", [("resampled", True), ("channels", False)])
def test_skip_projection_where_only_the_resolution_changes(where, projected):
    block = ResidualBlock(8, "down", skip_projection=where)
    shapes = jax.eval_shape(block.init, jax.random.key(0), image(4, 4, 8), jnp.zeros((2, 3)))
    assert ("skip" in shapes["params"]) == projected


def test_positional_embedding_written_out():
    found = positional_embedding(jnp.array([0.0, 3.0]), 6)
    rates = np.array([1.0, 1e-2, 1e-4])
    expected = [np.concatenate([np.sin(value * rates), np.cos(value * rates)]) for value in (0.0, 3.0)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_positional_embedding_of_adm_written_out():
    found = positional_embedding(jnp.array([3.0]), 4, freq_shift=0, order="cos_sin")
    np.testing.assert_allclose(found[0], [np.cos(3), np.cos(0.03), np.sin(3), np.sin(0.03)], rtol=1e-5)


@pytest.mark.parametrize("class_embedding", ["learned_null", "adm", "song"])
def test_classes_are_integers_or_weights(class_embedding):
    embedding = ConditionEmbedding(4, 8, num_classes=3, class_embedding=class_embedding)
    noise_label = jnp.array([1.0, 2.0])
    params = embedding.init(jax.random.key(0), noise_label)

    def embed(label):
        return embedding.apply(params, noise_label, label)

    np.testing.assert_array_equal(embed(jnp.array([0, 2])), embed(jnp.eye(3)[jnp.array([0, 2])]))
    for null in (jnp.array([3, 3]), jnp.zeros((2, 3))):
        np.testing.assert_array_equal(embed(null), embed(None))
    assert np.abs(embed(jnp.array([0, 1])) - embed(None)).max() > 1e-3


def test_classes_of_song_join_before_the_dense_layers_with_weight_sqrt_k():
    """Augmentation labels join there too, without a bias: the same numbers have the same effect."""
    options = dict(num_classes=4, class_embedding="song", augment_labels=4)
    embedding, noise_label = ConditionEmbedding(4, 8, **options), jnp.array([1.0, 2.0])
    params = embedding.init(jax.random.key(0), noise_label)
    params["params"]["augment"]["kernel"] = params["params"]["classes"]["kernel"]
    assert "bias" in params["params"]["classes"] and "bias" not in params["params"]["augment"]
    label = jnp.eye(4)[:2]
    by_class = embedding.apply(params, noise_label, label)
    np.testing.assert_allclose(embedding.apply(params, noise_label, None, 2 * label), by_class, rtol=1e-5, atol=1e-6)


def test_positional_embedding_refuses_odd_widths():
    with pytest.raises(ValueError, match="got 5"):
        positional_embedding(jnp.ones(1), 5)


class Chain(nn.Module):
    depth: int

    @nn.compact
    def __call__(self, x):
        for _ in range(self.depth):
            x = Attention()(ResidualBlock(8, init_scale=1.0)(x, None))
        return x


def test_derivatives_of_written_sums_are_those_of_plain_ones(monkeypatch):
    network, x = Chain(2), jax.random.normal(jax.random.key(0), (1, 3, 3, 8))
    params = network.init(jax.random.key(1), x)
    of = lambda transform: jax.jit(transform(lambda x: jnp.mean(jnp.square(network.apply(params, x)))))(x)
    transforms = jax.grad, jax.jacfwd, jax.hessian
    ours = [of(transform) for transform in transforms]
    monkeypatch.setattr(blocks, "written", lambda x: x)
    for found, transform in zip(ours, transforms, strict=True):
        np.testing.assert_allclose(found, of(transform), rtol=1e-4, atol=1e-6)


def test_gradients_are_not_computed_anew_from_those_of_all_blocks_that_follow(monkeypatch):
    def most_read(depth):  # by one operation of the compiled gradient
        network, x = Chain(depth), jax.ShapeDtypeStruct((2, 8, 8, 8), jnp.float32)
        gradient = jax.grad(lambda params, x: jnp.sum(jnp.square(network.apply(params, x))))
        compiled = jax.jit(gradient).lower(jax.eval_shape(network.init, jax.random.key(0), x), x).compile()
        return max(len(r.split(", ")) for r in re.findall(r"fusion\((.*?)\), kind=kLoop", compiled.as_text()))

    assert most_read(6) == most_read(3)
    monkeypatch.setattr(blocks, "written", lambda x: x)
    assert most_read(6) > most_read(3)
