"""The driver: what it checks, what it returns, and that it compiles once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import SDES
from linear_gaussian import CorrelatedGaussian, matrix, spectral

import sgm_jax as sgm
from sgm_jax import inverse
from sgm_jax.inverse import solve

SIZE = 4
SDE = SDES["edm"]
DATA = CorrelatedGaussian(SIZE)
OPERATOR = spectral(matrix(2, SIZE), 0.1)


def test_one_operator_each_acts_on_its_own_measurement_in_every_draw():
    masks = [
        inverse.Mask(jnp.array(mask), (SIZE,), noise) for mask, noise in (([1.0, 0, 0, 1], 0.1), ([0, 1.0, 0, 0], 2.0))
    ]
    y, x = jnp.arange(2.0 * SIZE).reshape(2, SIZE), jnp.arange(6.0 * SIZE).reshape(6, SIZE)
    act = lambda operator, y, x: operator.noise_std * operator.forward(x) - y
    together = inverse.Measurement(inverse.stack(masks), y).map(act, x)
    alone = [act(masks[i % 2], y[i % 2], x[i]) for i in range(6)]
    np.testing.assert_array_equal(together, jnp.stack(alone))


def test_summaries_are_of_the_samples_and_nothing_compiles_anew():
    traces = []

    def network(scale, label, x):
        traces.append(1)
        return scale * x

    score = sgm.as_score(SDE, "denoised", jax.tree_util.Partial(network, jnp.asarray(0.5)))

    def draw(key, y, noise_std):
        operator = spectral(matrix(2, SIZE), noise_std)
        return solve(jax.random.key(key), SDE, score, operator, y, method=inverse.DPS(), samples=5, steps=8)

    y = jnp.array([[0.3, 1.0], [0.2, -1.0], [0.0, 0.0]])
    out = draw(0, y, 0.1)
    assert out.x.shape == (5, 3, SIZE) and out.residual.shape == (5, 3) and out.nfe == 9
    np.testing.assert_allclose(out.mean, out.x.mean(0), atol=1e-6)
    np.testing.assert_allclose(out.std, out.x.std(0), atol=1e-6)
    size = np.linalg.norm(y, axis=-1)
    error = np.linalg.norm(out.x @ matrix(2, SIZE).T - y, axis=-1) / np.where(size > 0, size, 1)
    np.testing.assert_allclose(out.residual, error, atol=1e-5)
    first = len(traces)
    draw(1, y + 1, 0.2)
    assert len(traces) == first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(y=jnp.ones((2, 3))), r"y must have the shape \[b, 2\], got \(2, 3\)"),
        (dict(y=jnp.ones((2, 2), jnp.complex64)), "y must be of the measurement's kind float32, got complex64"),
        (dict(y=jnp.ones((2, 2), int)), "y must be of the measurement's kind float32, got int32"),
        (dict(y=jnp.full((2, 2), jnp.nan)), "y must be finite"),
        (dict(samples=0), "samples must be at least 1, got 0"),
        (dict(operator=inverse.stack([OPERATOR] * 3)), r"one operator a measurement \(2\), got \[3\]"),
        (dict(method=inverse.DDRM(), operator=inverse.Linear(lambda x: x[:2], (SIZE,))), "needs a spectral operator"),
        (
            dict(method=inverse.PiGDM(), operator=inverse.NonLinear(lambda x: x[:2], (SIZE,))),
            "a linear operator, got N",
        ),
        (dict(method=inverse.DDRM(), solver=sgm.DPMSolverPP()), "DDRM has steps of its own"),
    ],
)
def test_what_cannot_be_solved_is_refused(change, message):
    given = dict(operator=OPERATOR, y=jnp.ones((2, 2)), method=inverse.DPS(), samples=2) | change
    with pytest.raises(ValueError, match=message):
        solve(jax.random.key(0), SDE, DATA.score_fn(SDE), steps=2, **given)


def test_operators_of_different_kinds_do_not_stack():
    with pytest.raises(ValueError, match="of one kind and shape, got Decomposed, Mask"):
        inverse.stack([OPERATOR, inverse.Mask(jnp.ones(SIZE), (SIZE,))])


@pytest.mark.slow
def test_noise_is_estimated_from_what_is_finer_than_the_content():
    column = jnp.linspace(0, 3, 64)
    smooth = jnp.sin(column)[:, None, None] * jnp.cos(2 * column)[None, :, None]
    noise = jax.random.normal(jax.random.key(0), (64, 64, 1), complex)
    estimate = inverse.estimate_noise_std(smooth + 0.1 * noise)
    np.testing.assert_allclose(estimate, 0.1, rtol=0.08)
