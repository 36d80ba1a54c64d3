"""Operators by the decomposition of their matrix."""

import jax.numpy as jnp
import pytest

from sgm_jax import inverse


def test_what_cannot_be_decomposed_is_refused():
    with pytest.raises(ValueError, match="complex64"):
        inverse.decompose(inverse.Linear(lambda x: jnp.fft.fft(x), (4,)))
    with pytest.raises(ValueError, match="16900"):
        inverse.decompose(inverse.Mask(jnp.ones((130, 130, 1)), (130, 130, 1)))
