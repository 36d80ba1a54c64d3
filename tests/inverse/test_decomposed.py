"""Operators by the decomposition of their matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgm_jax import inverse


def test_a_decomposed_operator_measures_as_before_and_knows_its_pseudo_inverse():
    operator = inverse.Radon((8, 8, 1), 4, detectors=12, noise_std=0.1)
    known = inverse.decompose(operator)
    x = jax.random.normal(jax.random.key(0), operator.shape)
    y = operator.forward(x)
    np.testing.assert_allclose(known.forward(x), y, atol=1e-5)
    np.testing.assert_allclose(known.adjoint(y), operator.adjoint(y), atol=1e-4)
    matrix = np.stack([np.ravel(operator.forward(u)) for u in jnp.eye(64).reshape(64, 8, 8, 1)], 1)
    solution = np.linalg.pinv(matrix, rcond=1e-5) @ np.ravel(y)
    np.testing.assert_allclose(np.ravel(known.pseudo_inverse(y)), solution, atol=1e-3)
    gram = matrix @ matrix.T + 0.3 * np.eye(len(matrix))
    np.testing.assert_allclose(known.solve_gram(y, 0.3).ravel(), np.linalg.solve(gram, np.ravel(y)), atol=1e-3)
    assert known.noise_std == 0.1
    inverse.check_adjoint(jax.random.key(1), known)


def test_what_cannot_be_decomposed_is_refused():
    with pytest.raises(ValueError, match="complex64"):
        inverse.decompose(inverse.Linear(lambda x: jnp.fft.fft(x), (4,)))
    with pytest.raises(ValueError, match="16900"):
        inverse.decompose(inverse.Mask(jnp.ones((130, 130, 1)), (130, 130, 1)))
