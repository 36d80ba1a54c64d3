import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import SDES, Gaussian

import sgm_jax as sgm

DATA = Gaussian()


@pytest.mark.parametrize("name", SDES)
def test_latent_codes_are_standard_and_decode_back(name):
    sde = SDES[name]
    x = DATA.sample(jax.random.key(1), 4000)
    score = DATA.score_fn(sde)
    latent = sgm.encode(sde, score, x)
    # The linear SDE of the tests ends at s = 93 only; the others beyond 80.
    np.testing.assert_allclose(latent.mean(0), 0, atol=0.1)
    np.testing.assert_allclose(latent.std(0), 1, atol=0.05)
    np.testing.assert_allclose(sgm.decode(sde, score, latent), x, atol=2e-3)
    out = sgm.log_likelihood(jax.random.key(0), sde, score, x[:3])
    np.testing.assert_allclose(out.latent, latent[:3], atol=2e-3)


def test_interpolation_meets_its_ends_and_keeps_the_norm():
    z0, z1 = jax.random.normal(jax.random.key(0), (2, 3, 8, 8, 1))
    path = sgm.interpolate(z0, z1, jnp.linspace(0, 1, 5))
    assert path.shape == (5, 3, 8, 8, 1)
    np.testing.assert_allclose(path[0], z0, atol=1e-5)
    np.testing.assert_allclose(path[-1], z1, atol=1e-5)
    norms = jnp.sqrt(jnp.sum(path**2, (2, 3, 4)))
    np.testing.assert_allclose(norms[2], jnp.sqrt(norms[0] * norms[-1]), rtol=0.05)


def test_linear_interpolation_is_straight():
    z0, z1 = jax.random.normal(jax.random.key(0), (2, 3, 4))
    path = sgm.interpolate(z0, z1, jnp.array([0.0, 0.25, 1.0]), path="line")
    np.testing.assert_allclose(path, jnp.stack([z0, 0.75 * z0 + 0.25 * z1, z1]), atol=1e-6)


def test_attributes_and_temperature_move_data_as_an_affine_flow_says():
    # The flow of Gaussian data is affine, so that differences of means and scales pass through it unchanged.
    sde = sgm.EDM()
    score = DATA.score_fn(sde)
    x = DATA.sample(jax.random.key(1), 40)
    present = x[:, 0] > 0.5
    latent = sgm.encode(sde, score, x)
    direction = sgm.attribute_direction(latent[present], latent[~present])
    moved = sgm.decode(sde, score, latent + 0.7 * direction)
    shift = 0.7 * (x[present].mean(0) - x[~present].mean(0))
    np.testing.assert_allclose(moved - x, jnp.broadcast_to(shift, x.shape), atol=2e-3)
    cold = sgm.decode(sde, score, latent, temperature=0.5)
    centre = sgm.decode(sde, score, latent, temperature=0.0)
    np.testing.assert_allclose(cold, 0.5 * (x + centre), atol=2e-3)
    np.testing.assert_allclose(centre, jnp.broadcast_to(DATA.mean, x.shape), atol=0.02)


def test_bad_input_is_refused():
    z = jnp.ones((2, 3))
    with pytest.raises(ValueError, match="did you mean 'line'"):
        sgm.interpolate(z, z, jnp.ones(1), path="lines")
    with pytest.raises(ValueError, match="got -1"):
        sgm.decode(sgm.VP(), DATA.score_fn(sgm.VP()), z, temperature=-1.0)
