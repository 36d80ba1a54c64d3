import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgm_jax.scaling import Scaling


@pytest.mark.parametrize(("levels", "low", "high"), [(256, -1.0, 1.0), (256, 0.0, 1.0), (17, -3.0, 5.0)])
def test_every_value_survives_the_round_trip(levels, low, high):
    scaling = Scaling(levels, low, high)
    raw = jnp.arange(levels)[:, None]
    np.testing.assert_array_equal(scaling.to_raw(scaling.to_model(raw)), raw)
    np.testing.assert_array_equal(scaling.to_raw(scaling.dequantise(jax.random.key(0), raw)), raw)


def test_published_offsets_of_8_bit_images():
    # score_sde adds 7 bits for data in [-1, 1] and 8 for data in [0, 1].
    zero = jnp.zeros(1)
    np.testing.assert_allclose(Scaling(256, -1.0, 1.0).bits_per_dim(zero, 10), 7)
    np.testing.assert_allclose(Scaling(256, 0.0, 1.0).bits_per_dim(zero, 10), 8)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 1.0), (-7.0, 1.0)])
def test_uniform_density_costs_log2_of_the_levels(low, high):
    scaling = Scaling(32, low, high)
    log_prob = jnp.full(3, -5 * np.log(high - low))
    np.testing.assert_allclose(scaling.bits_per_dim(log_prob, 5), 5.0, rtol=1e-6)


def test_continuous_data_stay_as_they_are():
    x = jnp.array([[0.3, -9.0]])
    np.testing.assert_array_equal(Scaling(None).dequantise(jax.random.key(0), x), x)


def test_bad_ranges_are_refused():
    with pytest.raises(ValueError, match="low=1.0, high=0.0"):
        Scaling(256, 1.0, 0.0)
    with pytest.raises(ValueError, match="got 1"):
        Scaling(1)
