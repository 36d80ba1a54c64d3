import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgm_jax as sgm
from sgm_jax.sampling.ancestral import Ancestral
from sgm_jax.sampling.noise import Recorded


def noise_network(t, x):
    return jnp.tanh(x) * (1 - 0.3 * t)[:, None]


def draw(solver, eta, times, start, noise):
    sde = sgm.VP()
    process = sgm.ReverseSDE(sde, sgm.as_score(sde, "noise", noise_network), eta)
    schedule = np.asarray(sde.s(times))
    out = sgm.sample(
        jax.random.key(9),
        process,
        start.shape,
        solver=solver,
        schedule=schedule,
        x_init=start,
        noise=Recorded(noise),
        final="none",
    )
    return out.x * sde.alpha(times[-1])


TIMES = np.linspace(1.0, 0.05, 9)
START = jax.random.normal(jax.random.key(0), (5, 3))
NOISE = jax.random.normal(jax.random.key(1), (8, 5, 3))


@pytest.mark.parametrize("variance", ["small", "large"])
def test_it_is_the_published_update_of_ddpm(variance):
    """Ho et al., 2020, algorithm 2 and eq. 7, in alpha-bar; the noises play back in order."""
    bars = np.asarray(sgm.VP().alpha(TIMES)) ** 2
    x = START
    for i in range(8):
        alpha = bars[i] / bars[i + 1]
        beta = 1 - alpha
        eps = noise_network(jnp.full(5, TIMES[i]), x)
        mean = (x - beta / np.sqrt(1 - bars[i]) * eps) / np.sqrt(alpha)
        tilde = beta * (1 - bars[i + 1]) / (1 - bars[i])
        x = mean + np.sqrt({"small": tilde, "large": beta}[variance]) * NOISE[i]
    np.testing.assert_allclose(draw(Ancestral(variance), 1.0, TIMES, START, NOISE), x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("eta", [0.0, 0.6])
def test_eta_is_that_of_ddim(eta):
    """Song et al., DDIM, 2020, eq. 12 and 16."""
    bars = np.asarray(sgm.VP().alpha(TIMES)) ** 2
    x = START
    for i in range(8):
        now, then = bars[i], bars[i + 1]
        eps = noise_network(jnp.full(5, TIMES[i]), x)
        x0 = (x - np.sqrt(1 - now) * eps) / np.sqrt(now)
        sigma = eta * np.sqrt((1 - then) / (1 - now)) * np.sqrt(1 - now / then)
        x = np.sqrt(then) * x0 + np.sqrt(1 - then - sigma**2) * eps + sigma * NOISE[i]
    np.testing.assert_allclose(draw(Ancestral(), eta, TIMES, START, NOISE), x, rtol=1e-4, atol=1e-5)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="small, large, got 'smal'.*'small'"):
        Ancestral("smal")
    with pytest.raises(ValueError, match="got 1.5; SDEDPMSolverPP"):
        draw(Ancestral(), 1.5, TIMES, START, NOISE)
