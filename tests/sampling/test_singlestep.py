import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import Gaussian
from test_multistep import LEVELS, START, denoised, measured_order, run

import sgm_jax as sgm
from sgm_jax.sampling.integrands import DenoisedForm, NoiseForm, VelocityForm
from sgm_jax.sampling.singlestep import DPMSolver2, DPMSolver3


def noise(s, x):
    return (x - denoised(s, x)) / s


def dpm_solver_2(x, s, then):
    """Lu et al., DPM-Solver, 2022, algorithm 1."""
    h = np.log(s / then)
    middle = s * np.exp(-h / 2)
    u = x - middle * np.expm1(h / 2) * noise(s, x)
    return x - then * np.expm1(h) * noise(middle, u)


def dpm_solver_3(x, s, then, r1=1 / 3, r2=2 / 3):
    """Lu et al., DPM-Solver, 2022, algorithm 2."""
    h, first = np.log(s / then), noise(s, x)
    s1, s2 = s * np.exp(-r1 * h), s * np.exp(-r2 * h)
    d1 = noise(s1, x - s1 * np.expm1(r1 * h) * first) - first
    u2 = x - s2 * np.expm1(r2 * h) * first - s2 * r2 / r1 * (np.expm1(r2 * h) / (r2 * h) - 1) * d1
    d2 = noise(s2, u2) - first
    return x - then * np.expm1(h) * first - then / r2 * (np.expm1(h) / h - 1) * d2


def dpm_solver_pp_2s(x, s, then):
    """Lu et al., DPM-Solver++, 2022, algorithm 1, with r = 1/2."""
    h = np.log(s / then)
    middle = s * np.exp(-h / 2)
    u = middle / s * x - np.expm1(-h / 2) * denoised(s, x)
    return then / s * x - np.expm1(-h) * denoised(middle, u)


@pytest.mark.parametrize(
    ("solver", "published"),
    [(DPMSolver2(), dpm_solver_2), (DPMSolver3(), dpm_solver_3), (DPMSolver2(DenoisedForm()), dpm_solver_pp_2s)],
)
def test_steps_are_the_published_updates(solver, published):
    x = START
    for s, then in zip(LEVELS[:-1], LEVELS[1:], strict=True):
        x = published(x, s, then)
    np.testing.assert_allclose(run(solver), x, rtol=1e-7, atol=1e-7)


SOLVERS = [kind(form) for kind in (DPMSolver2, DPMSolver3) for form in (NoiseForm(), DenoisedForm(), VelocityForm(0.7))]


@pytest.mark.slow
@pytest.mark.parametrize("solver", SOLVERS)
def test_convergence_order(solver):
    assert abs(measured_order(solver, (40, 80)) - solver.evaluations_per_step) < 0.25


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_last_step_to_zero_noise_is_finite_right_and_counted(solver):
    sde, calls, data = sgm.EDM(), [], Gaussian(mean=(0.2, -0.1, 0.0))
    score = data.score_fn(sde)

    def counting(t, x):
        jax.debug.callback(lambda: calls.append(1))
        return score(t, x)

    start = sde.prior_sample(jax.random.key(0), (8, 3))
    options = dict(x_init=start, solver=solver, schedule=np.append(sgm.karras(sde, 80), 0.0), final="none")
    out = sgm.sample(jax.random.key(0), sgm.ProbabilityFlow(sde, counting), (8, 3), **options)
    jax.effects_barrier()
    assert int(out.nfe) == len(calls) == 81 * solver.evaluations_per_step
    shrink = data.std / jnp.sqrt(data.std**2 + sde.t_max**2)
    np.testing.assert_allclose(out.x, data.mean + (start - data.mean) * shrink, atol=5e-3)
