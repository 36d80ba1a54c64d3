"""The classifier of noisy images: its size, and that it tells noise levels apart."""

import jax
import jax.numpy as jnp
import numpy as np
from random_weights import compiled, randomised

from sgm_jax.networks import WideResNet


def test_defaults_have_the_published_size():
    """WRN-28-10 has 36.5 million weights; what is told the noise level comes on top."""
    shapes = jax.eval_shape(WideResNet(10).init, jax.random.key(0), jnp.zeros(1), jnp.zeros((1, 32, 32, 3)))["params"]
    told = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(shapes) if told_noise(path)]
    everything = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    embedding = (128 + 1) * 512 + (512 + 1) * 512 + 64
    conditions = 4 * (512 + 1) * (160 + 320 + 640)
    assert sum(leaf.size for leaf in told) == embedding + conditions
    np.testing.assert_allclose(everything - embedding - conditions, 36.5e6, rtol=1e-3)


def told_noise(path):
    return any(name in jax.tree_util.keystr(path) for name in ("embedding", "condition"))


def test_noise_level_and_image_matter():
    network, x, one = WideResNet(3, blocks=1, width=1), jax.random.normal(jax.random.key(0), (1, 8, 8, 1)), jnp.ones(1)
    params, apply = randomised(network, one, x), compiled(network.apply)
    logits = apply(params, one, x)
    assert np.abs(apply(params, -one, x) - logits).max() > 1e-3
    # The network does not standardise its input: it sees brightness.
    assert np.abs(apply(params, one, x + 1.0) - logits).max() > 1e-3
