"""What holds for every stochastic solver."""

import functools

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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "solver"), [("vp", name) for name in ALL] + [("edm", "sa"), ("cosine", "sde_dpm2"), ("ve", "ancestral")]
)
def test_samples_of_gaussian_data_have_its_moments(name, solver):
    sde = SDES[name]
    process = sgm.ReverseSDE(sde, DATA.score_fn(sde))
    steps = 60 if solver in ("churn", "sde_dpm2", "sa", "sa_predictor") else 400
    x = sgm.sample(jax.random.key(0), process, (20_000, 3), solver=ALL[solver], steps=steps).x
    np.testing.assert_allclose(x.mean(0), DATA.mean, atol=0.025)
    np.testing.assert_allclose(x.std(0), DATA.std, rtol=0.05)


def covariance_error(solver, steps, eta, draws):
    """Return the error of the end's variance, exactly: under a linear score the end is linear in start and noises.

    One example starts at 1 with no noise; each other starts at 0 and gets one unit of noise, once.
    """
    sde, data = sgm.EDM(t_min=0.05, t_max=80.0), Gaussian(mean=(0.0,), std=(0.5,))
    count = draws * steps
    noise = jnp.eye(count)[:, :, None]
    noise = jnp.concatenate([jnp.zeros((count, 1, 1)), noise], axis=1)
    start = jnp.zeros((count + 1, 1)).at[0].set(np.sqrt(0.25 + 80.0**2))
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


# With noise the Adams methods gain accuracy beyond two estimates, but no order.
ORDERS = [
    (diffrax.Euler(), 1.0, 1, 1),
    (Ancestral(), 1.0, 1, 1),
    (Ancestral(), 0.5, 1, 1),
    (SDEDPMSolverPP(points=1), 0.5, 1, 1),
    (SDEDPMSolverPP(), 1.0, 2, 1),
    (SDEDPMSolverPP(), 0.5, 2, 1),
    (SASolver(2, 0), 1.0, 2, 1),
    (SASolver(3, 3), 1.0, 2, 1),
    (SASolver(3, 0), 0.0, 3, 1),
    (SASolver(3, 4), 0.0, 3, 1),
    (GottaGoFast(), 1.0, 2, 1),
    (diffrax.SEA(), 0.5, 1, 2),
    (diffrax.SRA1(), 1.0, 2, 2),
    (diffrax.ShARK(), 0.5, 2, 2),
]


@pytest.mark.slow
@pytest.mark.parametrize(("solver", "eta", "order", "draws"), ORDERS)
def test_weak_order_of_the_variance(solver, eta, order, draws):
    with jax.enable_x64(True):
        errors = [covariance_error(solver, steps, eta, draws) for steps in (100, 200)]
    assert np.log2(errors[0] / errors[1]) > order - 0.15, errors


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ancestral", "ancestral_large", "churn", "sde_dpm2", "sa", "shark", "gotta_go_fast"])
def test_an_example_does_not_depend_on_its_batch(name):
    sde = sgm.VP()
    process = sgm.ReverseSDE(sde, DATA.score_fn(sde))
    draw = lambda count: sgm.sample(jax.random.key(3), process, (count, 3), steps=12, solver=ALL[name]).x
    np.testing.assert_allclose(draw(2), draw(5)[:2], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, jnp.float32) for name in OURS] + [(name, jnp.float64) for name in ("sa", "shark", "gotta_go_fast")],
)
def test_a_schedule_may_end_at_zero_noise(name, dtype):
    with jax.enable_x64(dtype == jnp.float64):
        sde = sgm.EDM()
        schedule = np.append(sgm.karras(sde, 20), 0.0)
        process = sgm.ReverseSDE(sde, DATA.score_fn(sde))
        out = sgm.sample(jax.random.key(0), process, (4, 3), solver=ALL[name], schedule=schedule, final="none", save=22)
        assert out.x.dtype == dtype
        # From 0.002 to 0 there is little left to move.
        np.testing.assert_allclose(out.x, out.trajectory.xt[-2], atol=0.01)


@pytest.mark.parametrize("name", ALL)
def test_evaluations_are_counted_exactly(name):
    sde, calls = sgm.VP(), []
    exact = DATA.score_fn(sde)

    def score(t, x):
        jax.debug.callback(lambda: calls.append(1))
        return exact(t, x)

    out = sgm.sample(jax.random.key(0), sgm.ReverseSDE(sde, score), (2, 3), solver=ALL[name], steps=5)
    jax.effects_barrier()
    assert int(out.nfe) == len(calls)


@pytest.mark.parametrize("name", ["ancestral", "sde_dpm1", "churn"])
def test_no_noise_gives_the_deterministic_solver(name):
    sde = sgm.VP()
    reference = diffrax.Heun() if name == "churn" else diffrax.Euler()
    draw = lambda process, solver: sgm.sample(jax.random.key(0), process, (4, 3), solver=solver, steps=10).x
    ours = draw(sgm.ReverseSDE(sde, DATA.score_fn(sde), eta=0.0), ALL[name])
    np.testing.assert_allclose(ours, draw(sgm.ProbabilityFlow(sde, DATA.score_fn(sde)), reference), atol=2e-5)


@pytest.mark.slow
def test_gradients_pass_through_stochastic_solvers():
    sde = sgm.VP()

    @functools.partial(jax.jit, static_argnums=1)
    @jax.value_and_grad
    def mean_of_samples(shift, solver):
        data = Gaussian(mean=(0.0,), std=(0.5,))
        data.mean = jnp.array([shift])
        process = sgm.ReverseSDE(sde, data.score_fn(sde))
        out = sgm.sample(
            jax.random.key(0), process, (2, 1), steps=6, solver=solver, adjoint=diffrax.RecursiveCheckpointAdjoint()
        )
        return out.x.mean()

    for solver in (SASolver(), SDEDPMSolverPP(), Churn(steps=6), Ancestral()):
        (high, _), (low, _), (_, gradient) = (mean_of_samples(shift, solver) for shift in (0.4, 0.2, 0.3))
        np.testing.assert_allclose(gradient, (high - low) / 0.2, rtol=1e-2)


@pytest.mark.parametrize("name", ["ancestral", "churn", "sde_dpm2", "sa", "gotta_go_fast", "shark"])
def test_a_stochastic_solver_refuses_a_flow(name):
    process = sgm.ProbabilityFlow(sgm.VP(), DATA.score_fn(sgm.VP()))
    with pytest.raises(ValueError, match="use ReverseSDE"):
        sgm.sample(jax.random.key(0), process, (2, 3), solver=ALL[name], steps=4)


@pytest.mark.parametrize("name", ["ancestral", "churn", "sde_dpm2", "sa"])
def test_a_solver_of_the_canonical_clock_refuses_a_chart(name):
    process = sgm.ReverseSDE(sgm.VP(), DATA.score_fn(sgm.VP()), chart=sgm.OwnTime())
    with pytest.raises(ValueError, match="OwnTime.*ShARK"):
        sgm.sample(jax.random.key(0), process, (2, 3), solver=ALL[name], steps=4)
