"""The MLP: shape, condition, learning a known denoiser."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sgm_jax.networks import MLP


def test_starts_at_zero_and_keeps_its_shape():
    x = jax.random.normal(jax.random.key(0), (5, 3))
    network = MLP(width=8, layers=2)
    output = jax.jit(network.init_with_output)(jax.random.key(1), jnp.ones(5), x)[0]
    assert output.shape == (5, 3) and not np.any(output)


@pytest.mark.slow
def test_learns_a_map_that_depends_on_the_noise_label():
    """For Gaussian data of variance 1 the denoiser is x / (1 + s^2)."""
    network = MLP(width=32, layers=1)
    params = jax.jit(network.init)(jax.random.key(0), jnp.ones(2), jnp.ones((2, 2)))
    optimizer = optax.adam(1e-2)

    def batch(key):
        level_key, x_key = jax.random.split(key)
        level = jax.random.uniform(level_key, (256,), minval=0.2, maxval=2.0)
        x = jax.random.normal(x_key, (256, 2))
        return jnp.log(level), x, x / (1 + level**2)[:, None]

    def error(params, key):
        noise_label, x, target = batch(key)
        return jnp.mean(jnp.square(network.apply(params, noise_label, x) - target))

    def step(carry, key):
        params, state = carry
        updates, state = optimizer.update(jax.grad(error)(params, key), state)
        return (optax.apply_updates(params, updates), state), None

    keys = jax.random.split(jax.random.key(1), 400)
    (params, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, keys))((params, optimizer.init(params)))
    assert error(params, jax.random.key(2)) < 2e-3


@pytest.mark.parametrize("options", [{"width": 0}, {"layers": 0}, {"embedding": "none"}])
def test_wrong_options_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        jax.eval_shape(MLP(**options).init, jax.random.key(0), jnp.ones(1), jnp.ones((1, 2)))
