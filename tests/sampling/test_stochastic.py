"""What holds for every stochastic solver."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import SDES, Gaussian

import sgm_jax as sgm
from sgm_jax.sampling.ancestral import Ancestral
from sgm_jax.sampling.churn import Churn
from sgm_jax.sampling.gotta_go_fast import GottaGoFast
from sgm_jax.sampling.noise import Recorded
from sgm_jax.sampling.sa import SASolver
from sgm_jax.sampling.sde_dpm import SDEDPMSolverPP

DATA = Gaussian(mean=(0.3, 0.0, -0.4))
OURS = {
    "ancestral": Ancestral(),
    "ancestral_large": Ancestral("large"),
    "churn": Churn(steps=40, s_min=0.0, s_max=1e3, s_noise=1.0),
    "sde_dpm1": SDEDPMSolverPP(points=1),
    "sde_dpm2": SDEDPMSolverPP(),
    "sa": SASolver(),
    "sa_predictor": SASolver(2, 0),
}
DIFFRAX = {"sra1": diffrax.SRA1(), "shark": diffrax.ShARK(), "slowrk": diffrax.SlowRK(), "sea": diffrax.SEA()}
IMPROVED = {"gotta_go_fast": GottaGoFast()}
ALL = OURS | DIFFRAX | IMPROVED


@pytest.mark.parametrize(
    ("name", "solver"), [("vp", name) for name in ALL] + [("edm", "sa"), ("cosine", "sde_dpm2"), ("ve", "ancestral")]
)
def test_samples_of_gaussian_data_have_its_moments(name, solver):
    sde = SDES[name]
    process = sgm.ReverseSDE(sde, DATA.score_fn(sde))
    # Beta is wrong by design for narrow data, by a share that falls with the number of steps.
    steps = 400 if solver in ("ancestral_large", "sea", "gotta_go_fast", "sra1") else 60
    x = sgm.sample(jax.random.key(0), process, (20_000, 3), solver=ALL[solver], steps=steps).x
    np.testing.assert_allclose(x.mean(0), DATA.mean, atol=0.025)
    np.testing.assert_allclose(x.std(0), DATA.std, rtol=0.05)


def covariance_error(solver, steps, eta, draws):
    """Return the error of the end's variance, exactly: under a linear score the end is linear in start and noises.

    One example starts at 1 with no noise; each other starts at 0 and gets one unit of noise, once.
    """
    sde, data = sgm.EDM(t_min=0.05, t_max=5.0), Gaussian(mean=(0.0,), std=(0.5,))
    count = draws * steps
    noise = jnp.eye(count)[:, :, None]
    noise = jnp.concatenate([jnp.zeros((count, 1, 1)), noise], axis=1)
    start = jnp.zeros((count + 1, 1)).at[0].set(np.sqrt(0.25 + 25.0))
    process = sgm.ReverseSDE(sde, data.score_fn(sde), eta)
    out = sgm.sample(
        jax.random.key(0),
        process,
        start.shape,
        solver=solver,
        schedule=sgm.uniform_log_snr(sde, steps),
        x_init=start,
        noise=Recorded(noise),
        final="none",
    ).x
    return abs(float(jnp.sum(out**2)) - (0.25 + 0.05**2))


ORDERS = [
    (diffrax.Euler(), 1, 1),
    (Ancestral(), 1, 1),
    (SDEDPMSolverPP(points=1), 1, 1),
    (SDEDPMSolverPP(), 2, 1),
    (SASolver(1, 0), 1, 1),
    (SASolver(2, 0), 2, 1),
    (SASolver(2, 2), 2, 1),
    (SASolver(3, 0), 3, 1),
    (SASolver(3, 3), 3, 1),
    (GottaGoFast(), 2, 1),
    (diffrax.SEA(), 1, 2),
    (diffrax.SRA1(), 2, 2),
    (diffrax.ShARK(), 2, 2),
    (diffrax.SlowRK(), 2, 2),
]


@pytest.mark.parametrize("eta", [1.0, 0.5])
@pytest.mark.parametrize(("solver", "order", "draws"), ORDERS)
def test_weak_order_of_the_variance(solver, order, draws, eta):
    with jax.enable_x64(True):
        errors = [covariance_error(solver, steps, eta, draws) for steps in (80, 160)]
    print(solver, eta, errors, np.log2(errors[0] / errors[1]))
    measured = np.log2(errors[0] / errors[1])
    assert abs(measured - order) < 0.3 or measured > order, errors
