"""Keys for a part of a batch: what is drawn with them are the rows that the whole batch would have drawn there.

A batch may be split over devices, or worked through in slices. With `part_key` every function of `(key, batch)` whose
draws have the batch as their leading axis does for the part what it would do there for the whole, so that no result
depends on how the batch was split. Draws of scalars are shared by all parts.
"""

import math

import jax
import jax.extend.random
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

# Key data: the two words of a Threefry key, then first row, stride and rows of the whole.
_WORDS = 2


def part_key(key: Key[Array, ""], first: Int[Array, ""] | int, stride: int, total: int) -> Key[Array, ""]:
    """Return the key of the rows `first, first + stride, first + 2 stride, ...` of a batch of `total`.

    Splitting and folding in keep what is known of the part.

    Args:
        key: a Threefry key (JAX's default), that of the whole batch.
        first: the part's first row.
        stride: distance between its rows.
        total: number of rows of the whole.
    """
    rows = jnp.stack([jnp.asarray(value, jnp.uint32) for value in (first, stride, total)])
    return jax.random.wrap_key_data(jnp.concatenate([jax.random.key_data(key), rows]), impl=_PART)


def whole_key(key: Key[Array, "..."]) -> Key[Array, "..."]:
    """Return the key of the whole batch, whether `key` is that of a part or not."""
    if not _is_part(key):
        return key
    return jax.random.wrap_key_data(jax.random.key_data(key)[..., :_WORDS], impl="threefry2x32")


def rows_of(key: Key[Array, ""], count: int) -> tuple[Int[Array, " count"], Int[Array, ""] | int]:
    """Return where the `count` rows that `key` draws for lie in the whole batch, and the number of its rows."""
    if not _is_part(key):
        return jnp.arange(count), count
    first, stride, total = jax.random.key_data(key)[_WORDS:].astype(int)
    return first + stride * jnp.arange(count), total


def _is_part(key) -> bool:
    return jax.random.key_impl(key) == _PART


def _threefry(data: Array) -> Key[Array, ""]:
    return jax.random.wrap_key_data(data[:_WORDS], impl="threefry2x32")


def _split(data: Array, shape: tuple[int, ...]) -> Array:
    words = jax.random.key_data(jax.random.split(_threefry(data), shape))
    return jnp.concatenate([words, jnp.broadcast_to(data[_WORDS:], (*shape, 3))], axis=-1)


def _fold_in(data: Array, number: Array | int) -> Array:
    return jnp.concatenate([jax.random.key_data(jax.random.fold_in(_threefry(data), number)), data[_WORDS:]])


def _random_bits(data: Array, width: int, shape: tuple[int, ...]) -> Array:
    """Return the bits that `jax.random.bits` gives in these rows: a hash of each number's place in the whole."""
    if not shape or not math.prod(shape):
        return jax.random.bits(_threefry(data), shape, f"uint{width}")
    rows = data[_WORDS] + data[_WORDS + 1] * jnp.arange(shape[0], dtype=jnp.uint32)
    size = math.prod(shape[1:])
    high, low = _wide_product(rows[:, None], size)
    place = low + jnp.arange(size, dtype=jnp.uint32)
    # Number by number, so that a part that is itself split over devices needs no communication.
    words = jax.extend.random.threefry2x32_p.bind(data[0], data[1], high + (place < low), place)
    high, low = (word.reshape(shape) for word in words)
    if width == 64:
        return high.astype(jnp.uint64) << 32 | low
    return (high ^ low).astype(f"uint{width}")


def _wide_product(a: Array, b: int) -> tuple[Array, Array]:
    """Return the upper and the lower word of the product of two 32-bit integers."""
    (a1, a0), (b1, b0) = (a >> 16, a & 0xFFFF), (jnp.uint32(b >> 16), jnp.uint32(b & 0xFFFF))
    middle = a1 * b0 + (a0 * b0 >> 16)
    carried = a0 * b1 + (middle & 0xFFFF)
    return a1 * b1 + (middle >> 16) + (carried >> 16), a * jnp.uint32(b)


_PART = jax.extend.random.define_prng_impl(
    key_shape=(_WORDS + 3,),
    seed=lambda seed: jnp.concatenate([jax.random.key_data(jax.random.key(seed)), jnp.uint32([0, 1, 1])]),
    split=_split,
    random_bits=_random_bits,
    fold_in=_fold_in,
    name="part_of_batch",
    tag="part",
)
