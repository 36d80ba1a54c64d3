import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import Mixture

import sgm_jax as sgm
from sgm_jax import inverse


def test_known_part_is_kept_and_the_rest_follows_the_conditional():
    # Two coordinates, two well separated modes: knowing the first coordinate decides the second.
    sde = sgm.VE(0.01, 20.0)
    score = Mixture([[-2.0, 1.0], [2.0, -1.0]], 0.3).score_fn(sde)
    known = jnp.array([[-2.0, 7.0]] * 400 + [[2.0, 7.0]] * 400)
    mask = jnp.array([1.0, 0.0])
    solver = sgm.PredictorCorrector(corrector=sgm.Langevin(snr=0.3, steps=2))
    out = inverse.inpaint(jax.random.key(0), sde, score, known, mask, solver=solver, steps=150)
    np.testing.assert_array_equal(out.x[:, 0], known[:, 0])
    np.testing.assert_allclose(out.x[:400, 1].mean(), 1.0, atol=0.1)
    np.testing.assert_allclose(out.x[400:, 1].mean(), -1.0, atol=0.1)
    np.testing.assert_allclose(out.x[:400, 1].std(), 0.3, atol=0.08)


def test_unknown_data_never_reach_the_result():
    sde = sgm.VP()
    score = Mixture([[0.0, 0.0]], 1.0).score_fn(sde)
    mask = jnp.array([1.0, 0.0])
    fill = lambda hidden: inverse.inpaint(jax.random.key(0), sde, score, jnp.array([[0.5, hidden]]), mask, steps=10).x
    np.testing.assert_array_equal(fill(0.0), fill(jnp.nan))


def test_bad_input_is_refused():
    sde = sgm.VP()
    score = lambda t, x: -x
    fill = lambda known, mask: inverse.inpaint(jax.random.key(0), sde, score, known, mask, steps=2)
    with pytest.raises(ValueError, match=r"got \(3,\)"):
        fill(jnp.ones((1, 2)), jnp.ones(3))
    with pytest.raises(ValueError, match="only 0 and 1"):
        fill(jnp.ones((1, 2)), jnp.array([0.5, 1.0]))
    with pytest.raises(ValueError, match="finite"):
        fill(jnp.array([[jnp.nan, 1.0]]), jnp.array([1.0, 0.0]))
