"""Editing by consistency functions that are known: of independent pixels, and of pixels that are all alike."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgm_jax as sgm
from sgm_jax import inverse
from sgm_jax.sampling import Consistency
from sgm_jax.shapes import expand

SDE, SHAPE, MEAN, STD = sgm.EDM(t_min=0.01, t_max=40.0), (4, 4, 3), 0.3, 0.8


def consistency_score(function):
    """Return the score function whose denoised estimate is `function(s, x)`."""
    return lambda t, x: (function(expand(t, x), x) - x) / expand(t, x) ** 2


def independent(s, x):
    """The flow of `N(MEAN, STD**2)` from level `s` to data."""
    return MEAN + (x - MEAN) * STD / jnp.hypot(STD, s)


def alike(s, x):
    """That of images whose pixels are all one number from `N(0, 1)`."""
    count = np.prod(SHAPE)
    mean = jnp.mean(x, (1, 2, 3), keepdims=True)
    return jnp.broadcast_to(mean / jnp.sqrt(1 + s**2 / count), x.shape)


OPERATORS = {
    "inpainting": inverse.Mask(inverse.MASKS["box"](jax.random.key(0), SHAPE), SHAPE),
    "colourisation": inverse.Grey(SHAPE),
    "super_resolution": inverse.average(SHAPE, 2),
}


@pytest.mark.parametrize(
    "name",
    ["inpainting", *(pytest.param(name, marks=pytest.mark.slow) for name in ("colourisation", "super_resolution"))],
)
def test_independent_pixels_are_drawn_from_their_posterior(name):
    """What is measured is kept, and what is not, in any orthogonal transform, is as before."""
    operator, samples = OPERATORS[name], 400
    y = operator.measure(jax.random.key(1), MEAN + STD * jax.random.normal(jax.random.key(2), SHAPE))[None]
    out = inverse.solve(
        jax.random.key(3),
        SDE,
        consistency_score(independent),
        operator,
        y,
        method=inverse.ConsistencyEditing(),
        samples=samples,
        steps=3,
    )
    assert int(out.nfe) == 3
    assert float(out.residual.max()) < 1e-5
    free = operator.gains == 0
    coefficients = jax.vmap(operator.analyse)(out.x[:, 0])[:, free]
    expected = operator.analyse(jnp.full(SHAPE, MEAN))[free]
    count = coefficients.size
    np.testing.assert_allclose(np.mean(coefficients - expected), 0, atol=4 * STD / count**0.5 + MEAN * STD / 40)
    np.testing.assert_allclose(np.std(coefficients - expected), STD, rtol=4 / count**0.5)


@pytest.mark.slow
def test_pixels_that_are_alike_become_what_one_part_is():
    operator = OPERATORS["inpainting"]
    y = operator.measure(jax.random.key(1), jnp.full(SHAPE, 0.7))[None]
    out = inverse.solve(
        jax.random.key(3),
        SDE,
        consistency_score(alike),
        operator,
        y,
        method=inverse.ConsistencyEditing(),
        samples=8,
        steps=12,
    )
    np.testing.assert_allclose(out.x, 0.7, atol=0.03)


@pytest.mark.slow
def test_codes_between_two_samples_lead_from_one_to_the_other():
    """In one step, along the great circle: the consistency function of what the codes are scaled to."""
    z0, z1 = jax.random.normal(jax.random.key(4), (2, 5, *SHAPE))
    codes = sgm.interpolate(z0, z1, jnp.array([0.0, 0.3, 1.0])).reshape(-1, *SHAPE)
    process = sgm.ReverseSDE(SDE, consistency_score(independent))
    options = dict(solver=Consistency(), schedule=np.array([40.0, 0.0]), final="none")
    out = sgm.sample(jax.random.key(5), process, codes.shape, x_init=SDE.prior_std * codes, **options)
    assert int(out.nfe) == 1
    np.testing.assert_allclose(out.x, independent(40.0, 40.0 * codes), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(out.x[:5], independent(40.0, 40.0 * z0), rtol=1e-3, atol=1e-3)
