"""Blocks in a loop against the same blocks one by one."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgm_jax.networks import DiT, UNet

UNET = dict(channels=8, multipliers=(1, 2), blocks=3, dropout=0.0)
NETWORKS = {
    "unet": UNet(**UNET, attention=()),
    "unet_attention": UNet(**UNET, attention=(8,), up_attention="block", progressive_input="residual"),
    "unet_remat": UNet(**UNET, attention=(4,), remat="block", conditioning="scale_shift"),
    "dit": DiT(width=16, depth=4, heads=2, num_classes=3),
    "dit_remat": DiT(width=16, depth=4, heads=2, remat="block"),
}


def drawn(network, *inputs):
    """Draw every weight, so that no zero-initialised layer hides anything."""
    shapes = jax.eval_shape(network.init, jax.random.key(0), *inputs)
    generator = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(0.2 * generator.standard_normal(leaf.shape), leaf.dtype), shapes)


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_gradients_and_parameters_are_those_of_single_blocks(name):
    plain = NETWORKS[name]
    scanned = dataclasses.replace(plain, scan_blocks=True)
    x = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
    inputs = jnp.array([0.5, 2.0]), x
    params = drawn(plain, *inputs)
    chex.assert_trees_all_equal_shapes_and_dtypes(params, drawn(scanned, *inputs))

    def loss(params, network):
        output = network.apply(params, *inputs)
        return jnp.sum(output * jnp.cos(output)), output

    value = jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnums=1)
    (_, expected), wanted = value(params, plain)
    (_, output), found = value(params, scanned)
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    scale = max(np.abs(leaf).max() for leaf in jax.tree.leaves(wanted))
    chex.assert_trees_all_close(found, wanted, rtol=1e-3, atol=1e-5 * scale)


@pytest.mark.parametrize("name, most", [("unet", 0.85), ("dit", 0.5)])
def test_programs_are_smaller(name, most):
    x = jnp.ones((1, 8, 8, 3))

    def products(network):
        params = network.init(jax.random.key(0), jnp.ones(1), x)
        text = jax.jit(network.apply).lower(params, jnp.ones(1), x).as_text()
        return text.count("stablehlo.convolution") + text.count("stablehlo.dot_general")

    plain = NETWORKS[name]
    assert products(dataclasses.replace(plain, scan_blocks=True)) < most * products(plain)


@pytest.mark.parametrize("make", [lambda **o: UNet(**UNET | o, attention=()), lambda **o: DiT(16, 4, 2, **o)])
def test_every_block_drops_numbers_of_its_own(make):
    network, x = make(dropout=0.5, scan_blocks=True), jnp.ones((1, 8, 8, 3))
    params = drawn(network, jnp.ones(1), x)

    def apply(seed):
        rngs = {"dropout": jax.random.key(seed)}
        return network.apply(params, jnp.ones(1), x, deterministic=False, rngs=rngs)

    np.testing.assert_array_equal(apply(0), apply(0))
    assert np.abs(apply(0) - apply(1)).max() > 1e-3
    text = str(jax.make_jaxpr(apply)(0))
    assert "random_split" in text and "scan" in text
