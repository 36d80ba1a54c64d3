import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgm_jax.divergence import Exact, Hutchinson, HutchPlusPlus, as_divergence, standard_error

D = 24


@functools.partial(jax.jit, static_argnums=(0, 2))
def estimates(divergence, matrix, count=2000):
    """Return the separate estimates [m, b] of the trace of one matrix, for `count` examples of it."""
    x = jnp.zeros((count, 4, D // 4))
    vectors = divergence.vectors(jax.random.split(jax.random.key(0), count), x)
    product = lambda v: (v.reshape(count, D) @ matrix).reshape(v.shape)
    return divergence.estimates(vectors, product)


def test_hutch_plus_plus_is_exact_for_low_rank_and_for_multiples_of_the_identity():
    left, right = jax.random.normal(jax.random.key(1), (2, D, 3))
    for matrix in (left @ right.T, 3 * jnp.eye(D)):
        np.testing.assert_allclose(estimates(HutchPlusPlus(3), matrix, 50), jnp.trace(matrix), rtol=1e-3)


def test_hutch_plus_plus_is_unbiased_and_better_where_few_eigenvalues_are_large():
    turn, _ = jnp.linalg.qr(jax.random.normal(jax.random.key(1), (D, D)))
    matrix = turn @ jnp.diag(10.0 / jnp.arange(1, D + 1) ** 2) @ turn.T
    spread = {}
    for divergence in (HutchPlusPlus(4), Hutchinson(12)):
        found = np.asarray(estimates(divergence, matrix).mean(axis=0))
        spread[type(divergence)] = found.std()
        assert abs(found.mean() - jnp.trace(matrix)) < 4 * found.std() / np.sqrt(len(found)) + 1e-4
    assert spread[HutchPlusPlus] < 0.3 * spread[Hutchinson]


@pytest.mark.parametrize("divergence", [Hutchinson(5), Hutchinson(5, jax.random.normal), HutchPlusPlus(5)])
def test_standard_errors_are_those_of_the_estimates(divergence):
    matrix = jax.random.normal(jax.random.key(1), (D, D))
    separate = estimates(divergence, matrix)
    errors = standard_error(separate)
    assert divergence.count == len(separate) == 5
    np.testing.assert_allclose(np.mean(errors**2), np.var(separate.mean(axis=0)), rtol=0.15)


def test_the_exact_divergence_is_the_trace_and_has_no_standard_error():
    matrix = jax.random.normal(jax.random.key(1), (D, D))
    separate = estimates(as_divergence("exact"), matrix, 3)
    np.testing.assert_allclose(separate, jnp.trace(matrix), rtol=1e-4)
    assert Exact().count == 1 and standard_error(separate) is None


def test_bad_numbers_of_probes_are_refused():
    with pytest.raises(ValueError, match="got 0"):
        HutchPlusPlus(0)
    with pytest.raises(ValueError, match="below the dimension 24, got 24"):
        estimates(HutchPlusPlus(24), jnp.eye(D), 1)
