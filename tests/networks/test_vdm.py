"""The VDM network: its size, its Fourier features, its measure of noise."""

import jax
import jax.numpy as jnp
import numpy as np
from random_weights import compiled, randomised

from sgm_jax.networks import VDMUNet
from sgm_jax.networks.vdm import fourier_features


def test_cifar_defaults_count_as_the_architecture_does():
    shapes = jax.eval_shape(VDMUNet().init, jax.random.key(0), jnp.zeros(1), jnp.zeros((1, 32, 32, 3)))
    c, layers = 128, 32
    conv = lambda inputs, outputs: (9 * inputs + 1) * outputs
    dense = lambda inputs, outputs: (inputs + 1) * outputs

    def block(inputs):
        skip = dense(inputs, c) if inputs != c else 0
        return 2 * inputs + conv(inputs, c) + dense(4 * c, c) + 2 * c + conv(c, c) + skip

    expected = dense(c, 4 * c) + dense(4 * c, 4 * c)  # embedding
    expected += conv(3 + 2 * 2 * 3, c)  # stem, with a sine and a cosine at two frequencies
    expected += (layers + 2) * block(c) + (layers + 1) * block(2 * c)
    expected += 2 * c + 4 * dense(c, c)  # attention
    expected += 2 * c + conv(c, 3)  # head
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == expected


def test_fourier_features_follow_their_formula():
    x = np.random.default_rng(0).uniform(-1, 1, (1, 2, 2, 2)).astype(np.float32)
    features = fourier_features(jnp.asarray(x), (6, 7))
    # sin(2^n pi x) for n = 7, 8 in the paper's count, then the cosines, channel by channel.
    angles = np.stack([2.0**n * np.pi * x[..., c].astype(np.float64) for c in range(2) for n in (7, 8)], axis=-1)
    np.testing.assert_allclose(features, np.concatenate([np.sin(angles), np.cos(angles)], axis=-1), atol=1e-3)
    assert fourier_features(jnp.asarray(x), ()).shape == (1, 2, 2, 0)


def test_only_the_place_between_the_ends_of_gamma_matters():
    x = jax.random.normal(jax.random.key(0), (3, 4, 4, 1))
    place = jnp.array([0.0, 0.3, 1.0])
    outputs = []
    for low, high in ((-13.3, 5.0), (0.0, 1.0)):
        network = VDMUNet(channels=8, layers=1, gamma_min=low, gamma_max=high)
        noise_label = low + place * (high - low)
        outputs.append(compiled(network.apply)(randomised(network, noise_label, x), noise_label, x))
    np.testing.assert_allclose(*outputs, rtol=1e-3, atol=1e-3)


def test_attention_stands_where_it_is_asked_for():
    for attention, count in (("middle", 1), ("every", 2 + 1 + 3)):
        network = VDMUNet(channels=8, layers=2, attention=attention)
        shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros(1), jnp.zeros((1, 4, 4, 1)))
        assert sum("attention" in name for name in shapes["params"]) == count
