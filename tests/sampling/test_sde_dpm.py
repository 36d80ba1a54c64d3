import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgm_jax as sgm
from sgm_jax.sampling.noise import Recorded
from sgm_jax.sampling.sde_dpm import SDEDPMSolverPP


def denoiser(t, x):
    return jnp.tanh(x) * (1 - 0.5 * t)[:, None]


@pytest.mark.parametrize("points", [1, 2])
def test_it_is_the_published_update(points):
    """Lu et al., DPM-Solver++, 2022, SDE-DPM-Solver++(1) and (2M) in the SDE's own alpha and sigma."""
    sde = sgm.VP()
    s = sgm.karras(sde, 8, s_min=0.01)
    t = np.asarray(sde.t(s))
    alpha, sigma = np.asarray(sde.alpha(t)), np.asarray(sde.sigma(t))
    noise = jax.random.normal(jax.random.key(1), (8, 5, 3))
    start = jax.random.normal(jax.random.key(0), (5, 3))
    x, past, past_h = start, None, None
    for i in range(8):
        h = np.log(alpha[i + 1] / sigma[i + 1]) - np.log(alpha[i] / sigma[i])
        current = denoiser(jnp.full(5, t[i]), x)
        factor = alpha[i + 1] * (1 - np.exp(-2 * h))
        x = sigma[i + 1] / sigma[i] * np.exp(-h) * x + factor * current
        if points == 2 and past is not None:
            x = x + 0.5 * factor * h / past_h * (current - past)
        x = x + sigma[i + 1] * np.sqrt(1 - np.exp(-2 * h)) * noise[i]
        past, past_h = current, h
    out = sgm.sample(
        jax.random.key(9),
        sgm.ReverseSDE(sde, sgm.as_score(sde, "denoised", denoiser)),
        (5, 3),
        solver=SDEDPMSolverPP(points),
        schedule=s,
        x_init=start,
        noise=Recorded(noise),
        final="none",
    )
    np.testing.assert_allclose(out.x * alpha[-1], x, rtol=1e-3, atol=1e-4)


def test_without_noise_it_is_dpm_solver():
    sde = sgm.VP()
    score = sgm.as_score(sde, "denoised", denoiser)
    draw = lambda process, solver: sgm.sample(jax.random.key(0), process, (4, 3), solver=solver, steps=10).x
    ours = draw(sgm.ReverseSDE(sde, score, eta=0.0), SDEDPMSolverPP())
    np.testing.assert_allclose(ours, draw(sgm.ProbabilityFlow(sde, score), sgm.DPMSolverPP()), rtol=1e-4, atol=1e-5)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="points must be 1 or 2, got 3"):
        SDEDPMSolverPP(points=3)
