"""Dropout: its probability, independence and derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgm_jax.networks.dropout import Dropout, drop


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.501])
@pytest.mark.parametrize("shape", [(5000, 7, 3, 4), (20000, 5), (100000, 1)])
def test_numbers_are_dropped_with_that_probability_and_independently(rate, shape):
    dropped = np.asarray(drop(jax.random.key(1), jnp.ones(shape), rate) == 0).reshape(shape[0], -1)
    spread = np.sqrt(rate * (1 - rate) / dropped.size)
    np.testing.assert_allclose(dropped.mean(), rate, atol=1 / (256 * shape[1]) + 4 * spread)
    np.testing.assert_allclose(dropped.mean(axis=0), rate, atol=1 / 256 + 5 * np.sqrt(rate * (1 - rate) / shape[0]))
    correlation = np.corrcoef(dropped.T) - np.eye(dropped.shape[1])
    assert np.abs(correlation).max() < 5 / np.sqrt(shape[0])


def test_what_is_kept_is_divided_and_has_that_derivative():
    x = jax.random.normal(jax.random.key(0), (3, 6, 4))
    value, pull = jax.vjp(lambda x: drop(jax.random.key(2), x, 0.25), x)
    kept = np.asarray(value != 0)
    np.testing.assert_allclose(value, np.where(kept, x / 0.75, 0), rtol=1e-6)
    np.testing.assert_allclose(pull(jnp.ones_like(x))[0], kept / 0.75, rtol=1e-6)


def test_layer_drops_in_training_alone():
    x, layer = jnp.ones((4, 100)), Dropout(0.5)
    np.testing.assert_array_equal(layer.apply({}, x, True), x)
    first, second = (layer.apply({}, x, False, rngs={"dropout": jax.random.key(i)}) for i in range(2))
    assert 0 < (first == 0).mean() < 1 and (first != second).any()
    np.testing.assert_array_equal(Dropout(0.0).apply({}, x, False), x)


@pytest.mark.parametrize("rate", [1.0, -0.1])
def test_rates_that_are_no_probabilities_are_refused(rate):
    with pytest.raises(ValueError, match=rf"\[0, 1\), got {rate}"):
        Dropout(rate).apply({}, jnp.ones((4, 4)), False)


def test_each_device_hashes_words_for_its_own_rows_alone():
    rows = jax.NamedSharding(jax.make_mesh((8,), ("data",)), jax.P("data"))
    shape = jax.ShapeDtypeStruct((64, 16, 3), jnp.float32)
    gradient = jax.grad(lambda x, key: jnp.sum(drop(key, jnp.tanh(x), 0.1) ** 2))
    text = jax.jit(gradient, in_shardings=(rows, None)).lower(shape, jax.random.key(0)).compile().as_text()
    assert "u32[8,4,3]" in text and "u32[64," not in text
    assert not any(name in text for name in ("all-gather", "all-to-all", "collective-permute"))
