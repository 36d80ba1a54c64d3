import functools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import SDES, Mixture

import sgm_jax as sgm
from sgm_jax.sampling import schedules
from sgm_jax.sampling.fitting import schedule_from_solution

EVERYWHERE = [
    sgm.uniform_time,
    sgm.uniform_log_snr,
    sgm.karras,
    schedules.quadratic_time,
    schedules.uniform_angle,
    functools.partial(schedules.uniform_angle, data_scale=5.0),
]


@pytest.mark.parametrize("schedule", EVERYWHERE)
@pytest.mark.parametrize("name", SDES)
def test_levels_fall_from_end_to_end_of_the_process(name, schedule):
    sde = SDES[name]
    for steps in (1, 2, 37):
        s = schedule(sde, steps)
        assert s.shape == (steps + 1,) and s.dtype == np.float64
        assert np.all(np.diff(s) < 0)
        np.testing.assert_allclose(s[[0, -1]], schedules.level_range(sde)[::-1], rtol=1e-9)


def test_spacing_is_even_in_the_variable_it_is_named_for():
    sde = sgm.EDM()
    np.testing.assert_allclose(np.diff(np.sqrt(schedules.quadratic_time(sde, 9)), 2), 0, atol=1e-12)
    angle = np.arctan(schedules.uniform_angle(sde, 9, data_scale=0.5) / 0.5)
    np.testing.assert_allclose(np.diff(angle, 2), 0, atol=1e-12)


def test_ten_points_of_each_spacing():
    # The sub-grids of ten timesteps out of a thousand, as published (Lin et al., 2024, table 2; there from 1 on).
    expected = {
        schedules.leading: [0, 100, 200, 300, 400, 500, 600, 700, 800, 900],
        schedules.linspace: [0, 111, 222, 333, 444, 555, 666, 777, 888, 999],
        schedules.trailing: [99, 199, 299, 399, 499, 599, 699, 799, 899, 999],
    }
    for spacing, indices in expected.items():
        np.testing.assert_array_equal(spacing(1000, 10), indices)


@pytest.mark.parametrize("spacing", [schedules.leading, schedules.linspace, schedules.trailing])
@pytest.mark.parametrize(("grid", "sde"), [(schedules.discrete_vp, sgm.VP()), (schedules.discrete_ve, sgm.VE())])
def test_discrete_levels_fall_and_never_repeat(grid, sde, spacing):
    for steps in (1, 9, 333, 999):
        s = grid(sde, steps, spacing=spacing)
        assert s.shape == (steps + 1,) and np.all(np.diff(s) < 0)


def test_whole_vp_grid_is_that_of_the_thousand_betas():
    keep = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    expected = np.sqrt((1 - keep) / keep)[::-1]
    s = schedules.discrete_vp(sgm.VP(), 999)
    np.testing.assert_allclose(s, expected, rtol=1e-9)
    # What DDPM's noise schedule is known to end at, and the continuous process close to it.
    np.testing.assert_allclose(s[[0, -1]], [157.41, 0.0100005], rtol=1e-4)
    np.testing.assert_allclose(s[400:990], sgm.VP().s(np.arange(600, 10, -1) / 1000), rtol=0.03)


def test_ve_grid_is_geometric():
    s = schedules.discrete_ve(sgm.VE(sigma_min=0.01, sigma_max=50.0), 999)
    np.testing.assert_allclose(s[[0, -1]], [50, 0.01])
    np.testing.assert_allclose(s[:-1] / s[1:], 5000 ** (1 / 999))


@pytest.mark.parametrize("spacing", [schedules.leading, schedules.linspace, schedules.trailing])
def test_discrete_grids_can_be_sampled_on(spacing):
    sde = sgm.VP(t_max=1.004)
    data = Mixture([[-1.0, 0.5], [1.0, 1.0]], 0.3)
    process = sgm.ProbabilityFlow(sde, data.score_fn(sde))
    schedule = functools.partial(schedules.discrete_vp, spacing=spacing)
    x = sgm.sample(jax.random.key(0), process, (512, 2), schedule=schedule, steps=49, solver=diffrax.Euler()).x
    np.testing.assert_allclose(x.mean(0), data.means.mean(0), atol=0.15)


def test_steps_of_an_adaptive_solution_are_close_to_karras_or_better():
    sde = sgm.EDM()
    data = Mixture(4 * np.random.default_rng(0).standard_normal((8, 2)), 0.3)
    process = sgm.ProbabilityFlow(sde, data.score_fn(sde))
    s = schedule_from_solution(jax.random.key(1), process, (16, 2), 19)
    assert s.shape == (20,) and s.dtype == np.float64 and np.all(np.diff(s) < 0)
    np.testing.assert_allclose(s[[0, -1]], [80, 0.002], rtol=1e-6)

    shape, key = (256, 2), jax.random.key(2)
    reference = sgm.sample(key, process, shape, rtol=1e-5, atol=1e-5).x

    def error(schedule):
        x = sgm.sample(key, process, shape, schedule=schedule).x
        return float(jnp.median(jnp.linalg.norm(x - reference, axis=1)))

    assert error(s) < 0.6 * error(sgm.karras(sde, 19))


def test_steps_of_an_adaptive_solution_are_those_it_took():
    # Without smoothing and at its own number of steps, the schedule is the accepted steps themselves.
    sde = sgm.VE()
    process = sgm.ProbabilityFlow(sde, Mixture([[-1.0, 0.5], [1.0, 1.0]], 0.3).score_fn(sde), sgm.Angle(0.5))
    start = sde.prior_sample(jax.random.key(0), (4, 2))
    ends = jnp.arctan(jnp.array([50.0, sde.s(1e-5)]) / 0.5)
    solution = diffrax.diffeqsolve(
        process.terms(),
        diffrax.Bosh3(),
        ends[0],
        ends[1],
        0.01 * (ends[1] - ends[0]),
        start * process.scale(50.0),
        stepsize_controller=diffrax.PIDController(rtol=1e-3, atol=1e-3),
        saveat=diffrax.SaveAt(t0=True, steps=True),
    )
    count = int(solution.stats["num_accepted_steps"])
    s = schedule_from_solution(jax.random.key(0), process, (4, 2), count, smoothing=1e-9)
    np.testing.assert_allclose(s, 0.5 * np.tan(solution.ts[: count + 1]), rtol=2e-3)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: schedules.quadratic_time(sgm.VP(), 0), "got 0"),
        (lambda: schedules.uniform_angle(sgm.VP(), 5, data_scale=0.0), "data_scale must be > 0, got 0.0"),
        (lambda: schedules.discrete_vp(sgm.EDM(), 5), "beta_min and beta_max, like VP, got EDM"),
        (lambda: schedules.discrete_vp(sgm.VP(), 1000), "at most 999.*got 1000"),
        (lambda: schedules.discrete_ve(sgm.VP(), 5), "sigma_min and sigma_max, like VE, got VP"),
        (lambda: schedule_from_solution(jax.random.key(0), sgm.ProbabilityFlow(sgm.VP(), abs), (1, 2), 0), "got 0"),
    ],
)
def test_bad_input_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()
