import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgm_jax as sgm
from sgm_jax.sampling.churn import Churn
from sgm_jax.sampling.noise import Recorded


def denoiser(t, x):
    return jnp.tanh(x) / (1 + 0.1 * t[:, None])


@pytest.mark.parametrize("end", ["zero", "tweedie"])
def test_it_is_the_published_algorithm(end):
    """Karras et al., 2022, algorithm 2, written out; the noises play back in drawing order."""
    steps, s_churn, s_min, s_max, s_noise = 12, 3.0, 0.05, 50.0, 1.003
    sde = sgm.EDM()
    t = np.append(sgm.karras(sde, steps - 1), 0.0)
    noise = jax.random.normal(jax.random.key(1), (steps, 4, 3))
    start = 80 * jax.random.normal(jax.random.key(0), (4, 3))
    x = start
    for i in range(steps):
        gamma = min(s_churn / steps, np.sqrt(2) - 1) if s_min <= t[i] <= s_max else 0
        t_hat = t[i] + gamma * t[i]
        x_hat = x + np.sqrt(t_hat**2 - t[i] ** 2) * s_noise * noise[i]
        d = (x_hat - denoiser(jnp.full(4, t_hat), x_hat)) / t_hat
        x = x_hat + (t[i + 1] - t_hat) * d
        if t[i + 1] > 0:
            second = (x - denoiser(jnp.full(4, t[i + 1]), x)) / t[i + 1]
            x = x_hat + (t[i + 1] - t_hat) * (d + second) / 2
    out = sgm.sample(
        jax.random.key(9),
        sgm.ReverseSDE(sde, sgm.as_score(sde, "denoised", denoiser)),
        (4, 3),
        solver=Churn(steps, s_churn, s_min, s_max, s_noise),
        schedule=t if end == "zero" else t[:-1],
        x_init=start,
        noise=Recorded(noise),
        final="none" if end == "zero" else "tweedie",
    )
    np.testing.assert_allclose(out.x, x, rtol=1e-4, atol=1e-4)
    assert int(out.nfe) == (2 * steps if end == "zero" else 2 * steps - 1)


def test_without_churn_it_is_heuns_method():
    sde = sgm.EDM()
    score = sgm.as_score(sde, "denoised", denoiser)
    options = dict(shape=(4, 3), steps=10)
    ours = sgm.sample(jax.random.key(0), sgm.ReverseSDE(sde, score), solver=Churn(10, s_churn=0.0), **options)
    heun = sgm.sample(jax.random.key(0), sgm.ProbabilityFlow(sde, score), solver=diffrax.Heun(), **options)
    np.testing.assert_allclose(ours.x, heun.x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (dict(steps=0), "steps must be at least 1, got 0"),
        (dict(s_churn=-1.0), "s_churn must be >= 0, got -1.0"),
        (dict(s_min=2.0, s_max=1.0), "s_min=2.0, s_max=1.0"),
        (dict(s_noise=-1.0), "s_noise"),
    ],
)
def test_bad_input_is_refused(options, match):
    with pytest.raises(ValueError, match=match):
        Churn(**{"steps": 10, **options})
