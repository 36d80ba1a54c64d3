import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import Gaussian, Mixture

import sgm_jax as sgm
from sgm_jax.sampling import DPMSolverPP, fit_coefficients
from sgm_jax.sampling.regression import _regress

SDE = sgm.EDM()
LEVELS = np.append(sgm.karras(SDE, 4, s_min=0.2), 0.0)


@pytest.mark.slow
@pytest.mark.parametrize(("sde", "levels"), [(SDE, np.array([40.0, 3.0, 0.0])), (sgm.VP(), np.array([40.0, 3.0, 0.1]))])
def test_a_flow_along_straight_lines_is_fitted_exactly(sde, levels):
    # With one standard deviation in all directions the flow scales x - mean: one coefficient a step gives it.
    data = Gaussian(std=(0.7, 0.7, 0.7))
    process = sgm.ProbabilityFlow(sde, data.score_fn(sde))
    fit = fit_coefficients(jax.random.key(0), process, (16, 3), 2, start=levels, memory=1, ridge=0.0, substeps=30)
    start = jax.random.normal(jax.random.key(1), (8, 3)) * 40
    x = sgm.sample(
        jax.random.key(1),
        process,
        (8, 3),
        solver=fit.solver,
        schedule=fit.schedule,
        final=fit.final,
        x_init=sde.alpha(sde.t(jnp.asarray(40.0))) * start,
    ).x
    exact = data.mean + (start - data.mean) * jnp.sqrt(0.7**2 / (0.7**2 + 40**2))
    if levels[-1] > 0:
        # The final denoising from the exact state at the last level.
        s = levels[-1]
        exact = data.mean + (exact - data.mean) * jnp.sqrt((0.7**2 + s**2) / 0.7**2) * 0.7**2 / (0.7**2 + s**2)
    np.testing.assert_allclose(x, exact, atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [0, 1])
def test_a_fit_lowers_the_error_on_other_noise(rounds):
    data = Mixture(4 * np.random.default_rng(0).standard_normal((8, 2)), 0.3)
    process = sgm.ProbabilityFlow(SDE, data.score_fn(SDE))
    fit = fit_coefficients(jax.random.key(7), process, (256, 2), 5, start=LEVELS, rounds=rounds)
    assert fit.after < fit.before and fit.final == "none"
    np.testing.assert_array_equal(fit.schedule[[0, -1]], LEVELS[[0, -1]])
    assert np.array_equal(fit.schedule, LEVELS) == (rounds == 0)

    def median(**options):
        exact = sgm.sample(jax.random.key(99), process, (512, 2), rtol=1e-5, atol=1e-5).x
        x = sgm.sample(jax.random.key(99), process, (512, 2), final="none", **options).x
        return np.median(np.sqrt(np.mean((x - exact) ** 2, 1)))

    assert 1.5 * median(solver=fit.solver, schedule=fit.schedule) < median(solver=DPMSolverPP(), schedule=LEVELS)


def test_a_regression_is_that_of_least_squares_and_not_ruled_by_a_few():
    generator = np.random.default_rng(0)
    regressors, truth = list(generator.standard_normal((3, 40, 50))), np.array([0.5, -1.0, 2.0])
    target = np.tensordot(truth, regressors, 1) + 0.01 * generator.standard_normal((40, 50))
    design = np.reshape(regressors, (3, -1)).T
    expected = np.linalg.lstsq(design, target.ravel(), rcond=None)[0]
    np.testing.assert_allclose(_regress(regressors, target, 0.0, 0), expected, rtol=1e-10)
    target[:4] += 3 * regressors[0][:4]
    assert np.max(np.abs(_regress(regressors, target, 0.0, 0) - truth)) > 0.1
    np.testing.assert_allclose(_regress(regressors, target, 0.0, 3), truth, atol=2e-3)
