import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import Gaussian, Mixture

import sgm_jax as sgm
from sgm_jax.sampling import DPMSolverPP
from sgm_jax.sampling.fitting import fit_schedule
from sgm_jax.sampling.tabulated import TabulatedMultistep, adams_bashforth

SDE = sgm.EDM()
LEVELS = np.append(sgm.karras(SDE, 4), 0.0)


def mixture(sde=SDE):
    data = Mixture(4 * np.random.default_rng(0).standard_normal((8, 2)), 0.3)
    return sgm.ProbabilityFlow(sde, data.score_fn(sde))


def errors(process, key, count, **options):
    reference = sgm.sample(key, process, (count, 2), rtol=1e-5, atol=1e-5).x
    x = sgm.sample(key, process, (count, 2), **options).x
    e = np.sqrt(np.mean((x - reference) ** 2, 1))
    return np.median(e), np.sqrt(np.mean(e**2))


def test_adams_bashforth_integrates_its_polynomials_exactly():
    # int (log s)^k ds in closed form, from the values of (log s)^k at the past levels.
    s = np.array([80.0, 31.0, 12.0, 2.0, 0.3, 0.01])
    antiderivatives = [
        lambda s: s,
        lambda s: s * (np.log(s) - 1),
        lambda s: s * (np.log(s) ** 2 - 2 * np.log(s) + 2),
    ]
    for order in (1, 2, 3):
        weights = adams_bashforth(s, order=order, memory=4)
        assert weights.shape == (5, 4) and np.all(weights[:, order:] == 0)
        for k in range(order):
            for n in range(k, 5):
                past = np.log(s[n::-1][:4]) ** k
                change = antiderivatives[k](s[n + 1]) - antiderivatives[k](s[n])
                np.testing.assert_allclose((s[n + 1] - s[n]) * weights[n, : len(past)] @ past, change, rtol=1e-9)


def test_first_order_table_is_euler():
    options = dict(schedule=LEVELS, final="none")
    draw = lambda solver: sgm.sample(jax.random.key(0), mixture(), (8, 2), solver=solver, **options)
    ours, euler = draw(TabulatedMultistep(adams_bashforth(LEVELS, order=1))), draw(diffrax.Euler())
    np.testing.assert_allclose(ours.x, euler.x, rtol=1e-5, atol=1e-5)
    assert ours.nfe == euler.nfe == 5


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, 2])
def test_convergence_order_of_the_starting_table(order):
    with jax.enable_x64(True):
        sde = sgm.EDM(t_min=0.05, t_max=20.0)
        data = Gaussian()
        process = sgm.ProbabilityFlow(sde, data.score_fn(sde))
        start = sde.prior_sample(jax.random.key(0), (16, 3)).astype(jnp.float64)
        exact = data.mean + (start - data.mean) * jnp.sqrt((data.std**2 + 0.05**2) / (data.std**2 + 20**2))
        error = []
        for steps in (100, 200):
            s = sgm.uniform_log_snr(sde, steps)
            solver = TabulatedMultistep(adams_bashforth(s, order=order))
            out = sgm.sample(jax.random.key(0), process, (16, 3), solver=solver, schedule=s, x_init=start, final="none")
            error.append(float(jnp.max(jnp.abs(out.x - exact))))
    assert abs(np.log2(error[0] / error[1]) - order) < 0.3, error


def test_more_steps_than_rows_are_an_error():
    solver = TabulatedMultistep(adams_bashforth(LEVELS[:-1]))
    with pytest.raises(Exception, match="maximum number of"):
        sgm.sample(
            jax.random.key(0), mixture(), (2, 2), solver=solver, schedule=LEVELS, final="none"
        ).x.block_until_ready()


@pytest.mark.slow
def test_gradients_with_respect_to_the_table_are_finite_and_right():
    weights = jnp.asarray(adams_bashforth(LEVELS, memory=5))

    def mean(weights):
        out = sgm.sample(
            jax.random.key(0),
            mixture(),
            (8, 2),
            solver=TabulatedMultistep(weights),
            schedule=LEVELS,
            final="none",
            adjoint=diffrax.DirectAdjoint(),
        )
        return out.x.mean()

    with jax.enable_x64(True):
        weights = weights.astype(jnp.float64)
        gradient = jax.grad(mean)(weights)
        assert jnp.all(jnp.isfinite(gradient))
        # Entries before the first step are never used.
        assert jnp.all(gradient[jnp.triu_indices(5, 1)] == 0)
        h = 1e-5
        difference = (mean(weights.at[2, 1].add(h)) - mean(weights.at[2, 1].add(-h))) / (2 * h)
        np.testing.assert_allclose(gradient[2, 1], difference, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("solver", "factor"),
    [(None, 8), (DPMSolverPP(), 1.8)],
)
def test_a_fit_lowers_the_error_on_other_noise(solver, factor):
    process = mixture()
    fitted = fit_schedule(jax.random.key(7), process, (256, 2), 5, solver=solver, iterations=40)
    assert fitted.after < fitted.before
    assert fitted.final == "none" and fitted.schedule[0] == 80 and fitted.schedule[-1] == 0
    assert np.all(np.diff(fitted.schedule) < 0) and fitted.schedule[-2] > 0.002
    test = jax.random.key(99)
    start = np.append(sgm.karras(SDE, 5)[:-1], 0.0)
    median, rms = errors(process, test, 512, solver=DPMSolverPP(), schedule=start, final="none")
    options = dict(solver=fitted.solver, schedule=fitted.schedule, final=fitted.final)
    fitted_median, fitted_rms = errors(process, test, 512, **options)
    assert fitted_median * factor < median, (fitted_median, median)
    assert fitted_rms < rms
    assert sgm.sample(test, process, (2, 2), **options).nfe == 5


def test_a_start_above_zero_keeps_its_ends_and_the_final_denoising():
    sde = sgm.VP()
    process = mixture(sde)
    fitted = fit_schedule(
        jax.random.key(7), process, (64, 2), 4, solver=diffrax.Heun(), start=sgm.uniform_log_snr, iterations=15
    )
    assert fitted.final == "tweedie" and fitted.after < fitted.before - 0.5
    np.testing.assert_allclose(fitted.schedule[[0, -1]], sgm.uniform_log_snr(sde, 4)[[0, -1]])
    x = sgm.sample(
        jax.random.key(0), process, (8, 2), solver=fitted.solver, schedule=fitted.schedule, final=fitted.final
    ).x
    assert jnp.all(jnp.isfinite(x))


@pytest.mark.parametrize(
    ("process", "options", "match"),
    [
        (mixture(), dict(start=np.array([1.0, 2.0, 0.0])), "3 decreasing noise levels"),
        (mixture(), dict(start=np.array([2.0, 1.0])), "3 decreasing noise levels"),
        (sgm.ProbabilityFlow(SDE, lambda t, x: jnp.full_like(x, 1e30)), {}, "loss must be finite"),
    ],
)
def test_bad_input_is_refused(process, options, match):
    with pytest.raises(ValueError, match=match):
        fit_schedule(jax.random.key(0), process, (4, 2), 2, iterations=1, **options)


def test_tables_of_no_order_are_refused():
    for order, memory in ((0, 2), (3, 2)):
        with pytest.raises(ValueError, match=f"memory=2, got {order}"):
            adams_bashforth(LEVELS, order=order, memory=memory)
