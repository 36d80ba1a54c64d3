"""Multistep consistency sampling: exact for Gaussian data, one evaluation a step, together with constraints."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgm_jax as sgm
from sgm_jax.samplers import SOLVERS
from sgm_jax.sampling import Consistency, then_zero

MEAN, STD, S_MIN = 0.7, 0.3, 0.02
SDES = {"edm": sgm.EDM(t_min=S_MIN, t_max=20.0), "vp": sgm.VP()}


def gaussian_score(sde, calls=None):
    """The score function made of the consistency function of N(MEAN, STD**2), in closed form."""

    def denoised(s, xbar):
        low = sde.s(sde.t_min)
        return MEAN + jnp.sqrt((STD**2 + low**2) / (STD**2 + s**2)) * (xbar - MEAN)

    def score_fn(t, x):
        if calls is not None:
            jax.debug.callback(lambda: calls.append(1))
        s = sde.s(t)
        return (denoised(s, x / sde.alpha(t)) * sde.alpha(t) - x) / sde.sigma(t) ** 2

    return score_fn


@pytest.mark.parametrize("name, steps", [("edm", 1), ("vp", 3)])
def test_samples_have_the_moments_of_gaussian_data_whatever_the_number_of_steps(name, steps):
    sde, calls = SDES[name], []
    process = sgm.ReverseSDE(sde, gaussian_score(sde, calls))
    schedule = then_zero(lambda sde, steps: sgm.karras(sde, steps, s_min=0.4))
    out = sgm.sample(
        jax.random.key(0), process, (4000, 1), solver=Consistency(), schedule=schedule, steps=steps, final="none"
    )
    jax.effects_barrier()
    assert len(calls) == int(out.nfe) == steps
    # The prior of the data at s_max is not N(0, s_max**2), but nearly.
    np.testing.assert_allclose(out.x.mean(), MEAN, atol=0.03)
    np.testing.assert_allclose(out.x.std(), np.hypot(STD, sde.s(sde.t_min)), atol=0.015)


def test_steps_are_jumps_and_fresh_noise():
    sde = SDES["edm"]
    process, levels = sgm.ReverseSDE(sde, gaussian_score(sde)), np.array([20.0, 2.0, 0.5])
    noise = jax.random.normal(jax.random.key(1), (2, 3, 1))
    source = lambda keys, step, shape: noise[step]
    start = jnp.array([[5.0], [-20.0], [30.0]])
    options = dict(solver=SOLVERS["consistency"](), schedule=levels, x_init=start, noise=source, final="tweedie")
    out = sgm.sample(jax.random.key(0), process, start.shape, **options)
    x = start
    for s0, s1, z in zip(levels, levels[1:], noise, strict=False):
        x = MEAN + np.sqrt((STD**2 + S_MIN**2) / (STD**2 + s0**2)) * (x - MEAN) + np.sqrt(s1**2 - S_MIN**2) * z
    x = MEAN + np.sqrt((STD**2 + S_MIN**2) / (STD**2 + levels[-1] ** 2)) * (x - MEAN)
    np.testing.assert_allclose(out.x, x, rtol=2e-4, atol=1e-5)
    assert int(out.nfe) == 3


def test_constraints_hold_after_each_jump():
    sde = SDES["edm"]
    process = sgm.ReverseSDE(sde, gaussian_score(sde))
    options = dict(solver=Consistency(), schedule=np.array([20.0, 0.5, 0.0]), final="none")
    known = lambda keys, t, x: x.at[:, 0].set(2.0)
    x = sgm.sample(jax.random.key(0), process, (64, 2), constraint=known, **options).x
    np.testing.assert_array_equal(x[:, 0], 2.0)
    free = sgm.sample(jax.random.key(0), process, (64, 2), **options).x
    np.testing.assert_allclose(x[:, 1], free[:, 1], rtol=1e-5)


def test_other_strengths_of_the_noise_are_refused():
    with pytest.raises(ValueError, match="Consistency takes eta=1, got 0.5"):
        process = sgm.ReverseSDE(SDES["edm"], gaussian_score(SDES["edm"]), 0.5)
        sgm.sample(jax.random.key(0), process, (1, 1), solver=Consistency(), steps=2)
