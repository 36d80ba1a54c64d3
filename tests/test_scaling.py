import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import beta

from configs import mnist
from sgm_jax.components import make_scaling
from sgm_jax.scaling import LogitScaling, Scaling


@pytest.mark.parametrize(
    "scaling",
    [
        Scaling(256, -1.0, 1.0),
        Scaling(256, 0.0, 1.0),
        Scaling(17, -3.0, 5.0),
        LogitScaling(256),
        LogitScaling(17, 1e-3),
    ],
)
def test_every_value_survives_the_round_trip(scaling):
    raw = jnp.arange(scaling.levels)[:, None]
    ends = scaling.to_model(jnp.array([0, scaling.levels]), 0.0)
    np.testing.assert_allclose(ends, [scaling.low, scaling.high], rtol=1e-5)
    np.testing.assert_array_equal(scaling.to_raw(scaling.to_model(raw)), raw)
    np.testing.assert_array_equal(scaling.to_raw(scaling.dequantise(jax.random.key(0), raw)), raw)


def test_published_offsets_of_8_bit_images():
    # score_sde adds 7 bits for data in [-1, 1] and 8 for data in [0, 1].
    zero, x = jnp.zeros(1), jnp.zeros((1, 10))
    np.testing.assert_allclose(Scaling(256, -1.0, 1.0).bits_per_dim(zero, x), 7)
    np.testing.assert_allclose(Scaling(256, 0.0, 1.0).bits_per_dim(zero, x), 8)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 1.0), (-7.0, 1.0)])
def test_uniform_density_costs_log2_of_the_levels(low, high):
    scaling = Scaling(32, low, high)
    log_prob = jnp.full(3, -5 * np.log(high - low))
    np.testing.assert_allclose(scaling.bits_per_dim(log_prob, jnp.zeros((3, 5))), 5.0, rtol=1e-6)


@pytest.mark.parametrize("scaling", [Scaling(8, -2.0, 3.0), LogitScaling(8), LogitScaling(8, 0.3)])
def test_bits_of_a_known_density_of_the_raw_data_are_the_same_in_every_scaling(scaling):
    # Numbers have a beta density between the ends of the raw range, whatever becomes of them.
    raw, offset = jnp.array([[0, 3, 7], [5, 5, 2]]), jnp.array([[0.2, 0.5, 0.9], [0.1, 0.8, 0.4]])
    x = scaling.to_model(raw, offset)
    unit = np.asarray((raw + offset) / 8, float)
    if isinstance(scaling, Scaling):
        density = beta.pdf((x + 2) / 5, 2, 3) / 5
    else:
        s = expit(np.asarray(x, float))
        density = beta.pdf((s - scaling.alpha) / (1 - 2 * scaling.alpha), 2, 3) * s * (1 - s) / (1 - 2 * scaling.alpha)
    bits = scaling.bits_per_dim(jnp.log(density).sum(axis=1), x)
    np.testing.assert_allclose(bits, -np.log2(beta.pdf(unit, 2, 3) / 8).mean(axis=1), rtol=1e-5)


def test_continuous_data_stay_as_they_are():
    x = jnp.array([[0.3, -9.0]])
    np.testing.assert_array_equal(Scaling(None).dequantise(jax.random.key(0), x), x)


def test_bad_ranges_are_refused():
    with pytest.raises(ValueError, match="low=1.0, high=0.0"):
        Scaling(256, 1.0, 0.0)
    with pytest.raises(ValueError, match="got 1"):
        Scaling(1)
    with pytest.raises(ValueError, match=r"alpha must be in \(0, 1/2\), got 0.5"):
        LogitScaling(256, 0.5)
    with pytest.raises(ValueError, match="integer data, got None"):
        LogitScaling(None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"transform": "logti"}, "did you mean 'logit'"),
        ({"transform": "logit", "low": 0.0}, "options of data.transform 'logit'"),
        ({"alpha": 0.1}, "options of data.transform 'affine'"),
        ({"transform": "logit", "name": "toy"}, "integer data, got None"),
    ],
)
def test_bad_transforms_are_refused(options, words):
    config = mnist.get_config("smoke")
    config.data.update({"name": "digits"} | options)
    with pytest.raises(ValueError, match=words):
        make_scaling(config.data, None if config.data.name == "toy" else 17)
