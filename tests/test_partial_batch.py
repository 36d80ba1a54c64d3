"""Keys for a part of a batch draw what the whole batch would have drawn there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgm_jax import objectives
from sgm_jax.partial_batch import part_key, rows_of, whole_key
from sgm_jax.shapes import per_example_keys

KEY, TOTAL = jax.random.key(3), 12
DRAWS = {
    "normal": lambda key, count: jax.random.normal(key, (count, 5, 3)),
    "split": lambda key, count: jax.random.bernoulli(jax.random.split(key)[1], 0.3, (count, 1, 1)),
    "fold_in": lambda key, count: jax.random.uniform(jax.random.fold_in(key, 7), (count,)),
    "bytes": lambda key, count: jax.random.bits(key, (count, 2), "uint8"),
    "shared": lambda key, count: jnp.full(count, jax.random.uniform(key)),
    "quantiles": objectives.stratified_quantiles,
    "keys": lambda key, count: jax.random.key_data(per_example_keys(key, count)),
    "mapped": lambda key, count: jax.lax.map(
        lambda key: jax.random.normal(key, (count, 2)), jax.random.split(key, 2)
    ).swapaxes(0, 1),
}


@pytest.mark.parametrize("first, stride", [(4, 1), (1, 3)])
@pytest.mark.parametrize("name", DRAWS)
def test_parts_draw_the_rows_of_the_whole(name, first, stride):
    part = jax.jit(part_key, static_argnums=(2, 3))(KEY, first, stride, TOTAL)
    expected = DRAWS[name](KEY, TOTAL)[first::stride][:4]
    np.testing.assert_array_equal(DRAWS[name](part, 4), expected)


def test_double_precision_draws_are_those_of_the_whole_too():
    with jax.enable_x64(True):
        part = part_key(KEY, 3, 1, TOTAL)
        expected = jax.random.normal(KEY, (TOTAL, 5), jnp.float64)[3:5]
        np.testing.assert_array_equal(jax.random.normal(part, (2, 5), jnp.float64), expected)


def test_places_beyond_32_bits_are_told_apart():
    # Row 2^20 of 2^16 numbers each starts at place 2^36, whose lower word is that of place 0.
    rows = [jax.random.bits(part_key(KEY, row, 1, 2**21), (1, 2**16)) for row in (0, 2**20)]
    words = jax.extend.random.threefry2x32_p.bind(*jax.random.key_data(KEY), jnp.uint32([0, 16]), jnp.uint32([0, 0]))
    np.testing.assert_array_equal([row[0, 0] for row in rows], words[0] ^ words[1])


def test_the_whole_is_known_of_a_part():
    part = part_key(KEY, 1, 2, TOTAL)
    rows, total = rows_of(part, 3)
    assert (rows.tolist(), int(total), whole_key(part)) == ([1, 3, 5], TOTAL, KEY)
    assert rows_of(KEY, 3)[0].tolist() == [0, 1, 2] and whole_key(KEY) is KEY
