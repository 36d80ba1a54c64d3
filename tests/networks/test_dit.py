"""DiT: its positions against their definitions, its size against the architecture counted by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_weights import compiled, randomised

from sgm_jax.networks import DIT_SIZES, DiT
from sgm_jax.networks.dit import rotate, sincos_positions

PUBLISHED = {"S/2": 33e6, "B/2": 130e6, "L/2": 458e6, "XL/2": 675e6}


def count(width, depth, patch, channels, classes):
    """Count the weights of a DiT: each dense layer has (inputs + 1) * outputs."""
    token = patch**2 * channels
    embedding = (256 + 1) * width + (width + 1) * width + (classes + 1) * width
    attention = 4 * (width + 1) * width
    perceptron = (width + 1) * 4 * width + (4 * width + 1) * width
    block = (width + 1) * 6 * width + attention + perceptron
    return (token + 1) * width + embedding + depth * block + (width + 1) * 2 * width + (width + 1) * token


@pytest.mark.parametrize("size", DIT_SIZES)
def test_published_sizes_count_as_the_architecture_does(size):
    options = DIT_SIZES[size]
    shapes = jax.eval_shape(
        DiT(**options, num_classes=1000).init, jax.random.key(0), jnp.zeros(1), jnp.zeros((1, 32, 32, 4))
    )
    parameters = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert parameters == count(options["width"], options["depth"], options["patch"], 4, 1000)
    if size in PUBLISHED:
        np.testing.assert_allclose(parameters, PUBLISHED[size], rtol=0.005)


def test_fixed_positions_follow_their_formula():
    positions, features = sincos_positions(3, 5, 8), 8
    for row in range(3):
        for column in range(5):
            expected = []
            for place in (column, row):
                angles = [place / 10000 ** (k / (features / 4)) for k in range(features // 4)]
                expected += [*np.sin(angles), *np.cos(angles)]
            np.testing.assert_allclose(positions[row, column], expected, atol=1e-6)


def test_rotary_scores_depend_on_relative_positions_only():
    height, width, heads, features = 5, 6, 2, 8
    query, key = (jax.random.normal(jax.random.key(i), (heads, features)) for i in range(2))
    # The same query and the same key stand at every position.
    everywhere = lambda vector: rotate(jnp.broadcast_to(vector, (1, height, width, heads, features)))[0]
    scores = np.einsum("ijhd,klhd->hijkl", everywhere(query), everywhere(key))
    by_offset = {}
    for i, j, k, l in np.ndindex(height, width, height, width):
        by_offset.setdefault((k - i, l - j), []).append(scores[:, i, j, k, l])
    means = {}
    for offset, values in by_offset.items():
        means[offset] = np.mean(values, axis=0)
        np.testing.assert_allclose(values, np.broadcast_to(means[offset], (len(values), heads)), atol=1e-4)
    # And they do depend on these, along both axes and with their sign.
    assert (
        min(np.abs(means[a] - means[b]).max() for a, b in [((1, 0), (-1, 0)), ((0, 1), (0, -1)), ((1, 0), (0, 1))])
        > 0.1
    )
    np.testing.assert_allclose(means[0, 0], np.einsum("hd,hd->h", query, key), atol=1e-5)


def test_rotary_network_is_told_positions_by_attention_alone():
    """Reversing the patches' order changes what each sees; without positions it would only permute the output."""
    x = jax.random.normal(jax.random.key(0), (1, 4, 4, 1))
    network = DiT(width=16, depth=1, heads=2, patch=1, positions="rope")
    params, apply = randomised(network, jnp.ones(1), x, size=0.5), compiled(network.apply)
    one, other = (apply(params, jnp.ones(1), image) for image in (x, x[:, ::-1]))
    assert np.abs(one - other[:, ::-1]).max() > 1e-2
