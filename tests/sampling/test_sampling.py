import functools
import pathlib

import chex
import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import SDES, Gaussian, Mixture

import sgm_jax as sgm
from sgm_jax import sampling

DATA_FILES = pathlib.Path(__file__).parents[1] / "data"
DATA = Gaussian(mean=(0.0, 0.0, 0.0))


def moments(x):
    return np.asarray(x.mean(0)), np.asarray(x.std(0))


@pytest.mark.slow
@pytest.mark.parametrize("name", SDES)
@pytest.mark.parametrize("way", ["flow", "adaptive", "reverse", "corrected"])
def test_samples_of_gaussian_data_have_its_moments(name, way):
    sde = SDES[name]
    score = DATA.score_fn(sde)
    process, options = {
        "flow": (sgm.ProbabilityFlow(sde, score), dict(steps=60)),
        "adaptive": (sgm.ProbabilityFlow(sde, score), dict(rtol=1e-4, atol=1e-4)),
        "reverse": (sgm.ReverseSDE(sde, score), dict(steps=500)),
        "corrected": (sgm.ReverseSDE(sde, score), dict(steps=300, solver=sgm.PredictorCorrector())),
    }[way]
    mean, std = moments(sgm.sample(jax.random.key(0), process, (20_000, 3), **options).x)
    np.testing.assert_allclose(mean, DATA.mean, atol=0.025)
    np.testing.assert_allclose(std, DATA.std, rtol=0.03)


@pytest.mark.parametrize("chart", [sgm.NoiseLevel(), sgm.Angle(0.5), sgm.OwnTime()])
@pytest.mark.parametrize("name", ["vp", "subvp", "edm", "cosine"])
def test_every_chart_carries_each_point_along_the_same_flow(name, chart):
    # The exact flow of Gaussian data is affine: x0 = mean + (x1 / alpha - mean) std(s0) / std(s1).
    sde, data = SDES[name], Gaussian()
    start = sde.prior_sample(jax.random.key(0), (16, 3))
    process = sgm.ProbabilityFlow(sde, data.score_fn(sde), chart)
    ours = sgm.sample(jax.random.key(1), process, (16, 3), x_init=start, rtol=1e-6, atol=1e-6, final="none").x
    low, high = sde.s(sde.t_min), sde.s(sde.t_max)
    shrink = jnp.sqrt((data.std**2 + low**2) / (data.std**2 + high**2))
    np.testing.assert_allclose(ours, data.mean + (start / sde.alpha(sde.t_max) - data.mean) * shrink, atol=1e-3)


def flow_error(sde, score, solver, steps, reference, start):
    out = sgm.sample(
        jax.random.key(0),
        sgm.ProbabilityFlow(sde, score, sgm.NoiseLevel()),
        start.shape,
        x_init=start,
        solver=solver,
        schedule=sgm.uniform_log_snr(sde, steps),
        final="none",
    ).x
    return float(jnp.sqrt(jnp.mean((out - reference) ** 2)))


@pytest.mark.parametrize(
    ("solver", "order"),
    [(diffrax.Euler(), 1), (diffrax.Heun(), 2), (diffrax.Ralston(), 2), (sgm.DPMSolverPP(), 2), (diffrax.Bosh3(), 3)],
)
def test_convergence_order_on_a_mixture(solver, order):
    with jax.enable_x64(True):
        sde = sgm.EDM(t_min=0.05, t_max=20.0)
        score = Mixture([[-1.0, 0.5], [1.0, 1.0], [0.3, -1.2]], 0.4).score_fn(sde)
        start = sde.prior_sample(jax.random.key(0), (64, 2)).astype(jnp.float64)
        process = sgm.ProbabilityFlow(sde, score)
        reference = sgm.sample(
            jax.random.key(0),
            process,
            (64, 2),
            x_init=start,
            rtol=1e-10,
            atol=1e-10,
            solver=diffrax.Dopri8(),
            final="none",
        ).x
        errors = [flow_error(sde, score, solver, steps, reference, start) for steps in (80, 160, 320)]
    measured = np.log2(errors[1] / errors[2])
    assert abs(measured - order) < 0.25, errors


def test_euler_is_ddim():
    """The published update x' = sqrt(a') x0 + sqrt(1 - a') eps, written out (Song et al., DDIM, 2020, eq. 12)."""
    sde = sgm.VP()
    noise = lambda t, x: jnp.tanh(x) * (1 - t)[:, None]
    t = np.linspace(1.0, 1e-3, 12)
    start = jax.random.normal(jax.random.key(0), (5, 3))
    x = start
    for now, then in zip(t[:-1], t[1:], strict=True):
        eps = noise(jnp.full(5, now), x)
        x0 = (x - sde.sigma(now) * eps) / sde.alpha(now)
        x = sde.alpha(then) * x0 + sde.sigma(then) * eps
    process = sgm.ProbabilityFlow(sde, sgm.as_score(sde, "noise", noise))
    schedule = functools.partial(sgm.uniform_time, t_min=1e-3)
    out = sgm.sample(
        jax.random.key(0),
        process,
        (5, 3),
        solver=diffrax.Euler(),
        schedule=schedule,
        steps=11,
        x_init=start,
        final="none",
    )
    np.testing.assert_allclose(out.x * sde.alpha(1e-3), x, rtol=2e-6)


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_euler_equals_a_recorded_ddim(spacing):
    recorded = np.load(DATA_FILES / "ddim.npz")
    alpha = np.sqrt(recorded["alphas_cumprod"])
    table = np.sqrt(1 - alpha**2) / alpha
    sde = sgm.EDM(t_min=float(table[0]), t_max=float(table[-1]))

    def score(s, xbar):
        t = jnp.interp(s, table, jnp.arange(1000.0))[:, None]
        scale = jnp.interp(s, table, alpha)[:, None]
        return -(jnp.tanh(scale * xbar) * (1 - t / 2000) + 0.1) / s[:, None]

    t = recorded[f"timesteps_{spacing}"]
    t = t if t[-1] == 0 else np.append(t, 0)
    out = sgm.sample(
        jax.random.key(0),
        sgm.ProbabilityFlow(sde, lambda t, x: score(jnp.broadcast_to(t, len(x)), x)),
        (4, 3),
        solver=diffrax.Euler(),
        schedule=table[t],
        x_init=jnp.asarray(recorded["x_init"] / alpha[t[0]], jnp.float32),
        final="none",
    )
    np.testing.assert_allclose(out.x * alpha[0], recorded[f"x_{spacing}"], rtol=1e-4, atol=1e-4)


def test_dpm_solver_matches_its_published_update():
    """Lu et al., DPM-Solver++, 2022, algorithm 2, written out in the SDE's own alpha and sigma."""
    sde = sgm.VP()
    denoised = lambda t, x: jnp.tanh(x) * (1 - 0.5 * t)[:, None]
    s = sgm.karras(sde, 9, s_min=0.01)
    t = np.asarray(sde.t(s))
    start = jax.random.normal(jax.random.key(0), (5, 3))
    x, past, past_h = start, None, None
    for now, then in zip(t[:-1], t[1:], strict=True):
        h = jnp.log(sde.s(now) / sde.s(then))
        current = denoised(jnp.full(5, now), x)
        ratio = None if past is None else past_h / h
        target = current if past is None else (1 + 0.5 / ratio) * current - 0.5 / ratio * past
        x = sde.sigma(then) / sde.sigma(now) * x - sde.alpha(then) * jnp.expm1(-h) * target
        past, past_h = current, h
    process = sgm.ProbabilityFlow(sde, sgm.as_score(sde, "denoised", denoised))
    out = sgm.sample(jax.random.key(0), process, (5, 3), schedule=s, x_init=start, final="none")
    np.testing.assert_allclose(out.x * sde.alpha(t[-1]), x, atol=1e-4)


def test_a_schedule_may_end_at_zero_noise():
    sde = sgm.EDM()
    schedule = np.append(sgm.karras(sde, 30), 0.0)
    process = sgm.ProbabilityFlow(sde, DATA.score_fn(sde))
    for solver in (sgm.DPMSolverPP(), diffrax.Euler()):
        out = sgm.sample(jax.random.key(0), process, (20_000, 3), solver=solver, schedule=schedule, final="none")
        np.testing.assert_allclose(moments(out.x)[1], DATA.std, rtol=0.1)


SOLVERS = [
    (sgm.ProbabilityFlow, diffrax.Euler(), {}),
    (sgm.ProbabilityFlow, diffrax.Heun(), {}),
    (sgm.ProbabilityFlow, diffrax.Bosh3(), {}),
    (sgm.ProbabilityFlow, sgm.DPMSolverPP(), {}),
    (sgm.ProbabilityFlow, sgm.PredictorCorrector(sgm.DPMSolverPP(), sgm.Langevin(steps=2)), {}),
    (sgm.ProbabilityFlow, sgm.PredictorCorrector(diffrax.Bosh3(), None), {}),
    (sgm.ReverseSDE, diffrax.Euler(), {}),
    (sgm.ReverseSDE, sgm.PredictorCorrector(), {}),
    (sgm.ProbabilityFlow, diffrax.Tsit5(), {"rtol": 1e-3, "atol": 1e-3}),
    (sgm.ProbabilityFlow, diffrax.Heun(), {"rtol": 1e-3, "atol": 1e-3}),
]


@pytest.mark.parametrize(("process", "solver", "options"), SOLVERS)
@pytest.mark.parametrize("final", ["tweedie", "none"])
def test_evaluations_are_counted_exactly(process, solver, options, final):
    sde, calls = sgm.VP(), []
    exact = DATA.score_fn(sde)

    def score(t, x):
        jax.debug.callback(lambda: calls.append(1))
        return exact(t, x)

    options = options or {"steps": 7}
    out = sgm.sample(jax.random.key(0), process(sde, score), (4, 3), solver=solver, final=final, **options)
    jax.effects_barrier()
    assert int(out.nfe) == len(calls)


def test_an_example_does_not_depend_on_its_batch():
    sde = sgm.VP()
    process = sgm.ReverseSDE(sde, DATA.score_fn(sde))
    draw = lambda count: sgm.sample(jax.random.key(3), process, (count, 3), steps=30, solver=sgm.PredictorCorrector()).x
    np.testing.assert_allclose(draw(2), draw(9)[:2], atol=1e-5)


def test_trajectory_runs_from_prior_to_data():
    sde = sgm.VP()
    for options in (dict(steps=40), dict(rtol=1e-4, atol=1e-4)):
        out = sgm.sample(jax.random.key(0), sgm.ProbabilityFlow(sde, DATA.score_fn(sde)), (500, 3), save=5, **options)
        path = out.trajectory
        assert path.xt.shape == path.denoised.shape == (5, 500, 3)
        assert np.all(np.diff(path.s) < 0)
        np.testing.assert_allclose(path.s[jnp.array([0, -1])], sde.s(jnp.array([1.0, 1e-5])), rtol=1e-3)
        np.testing.assert_allclose(path.xt[0].std(), 1, atol=0.05)
        np.testing.assert_allclose(path.denoised[-1], out.x, atol=1e-4)
        t = sde.t(path.s)
        expected = jax.vmap(sgm.as_denoiser(sde, DATA.score_fn(sde)))(t, path.xt)
        np.testing.assert_allclose(path.denoised, expected, atol=2e-3)


def test_constraint_is_applied_after_every_step_in_own_scale():
    sde = sgm.VP()
    limit = lambda keys, t, x: jnp.clip(x, -0.1, 0.1)
    for solver in (sgm.DPMSolverPP(), diffrax.Heun(), None):
        out = sgm.sample(
            jax.random.key(0),
            sgm.ProbabilityFlow(sde, DATA.score_fn(sde)),
            (8, 3),
            steps=10,
            solver=solver,
            constraint=limit,
            save=11,
        )
        assert jnp.all(jnp.abs(out.trajectory.xt[1:]) <= 0.1 + 1e-5)


def test_recorded_noise_is_played_back_in_order():
    # One Euler-Maruyama step in the clock s**2 is score_sde's reverse-diffusion step for VE, written out here.
    sde = sgm.VE()
    score = DATA.score_fn(sde)
    s = np.array([3.0, 2.0, 0.7, 0.2])
    noise = jax.random.normal(jax.random.key(0), (3, 4, 3))
    start = 3 * jax.random.normal(jax.random.key(1), (4, 3))
    x = start
    for i in range(3):
        gap = s[i] ** 2 - s[i + 1] ** 2
        x = x + gap * score(sde.t(s[i]), x) + np.sqrt(gap) * noise[i]
    out = sgm.sample(
        jax.random.key(9),
        sgm.ReverseSDE(sde, score),
        (4, 3),
        schedule=s,
        x_init=start,
        noise=sampling.Recorded(noise),
        final="none",
    )
    np.testing.assert_allclose(out.x, x, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("rule", [sampling.annealed_step, sampling.batch_mean_step, sampling.per_example_step])
def test_langevin_corrector_keeps_the_marginal(rule):
    sde = sgm.EDM()
    data = Gaussian(mean=(0.0,) * 256, std=(1.0,) * 256)
    process = sgm.ReverseSDE(sde, data.score_fn(sde))
    corrector = sgm.Langevin(snr=0.05, step_size=rule)
    keys = sgm.shapes.per_example_keys(jax.random.key(0), 500)
    s = jnp.asarray(2.0)
    x = np.sqrt(5) * jax.random.normal(jax.random.key(1), (500, 256))
    for step in range(40):
        x = corrector(process, keys, step, s, x)
    # A discretisation error of order snr**2 remains.
    np.testing.assert_allclose(x.std(), np.sqrt(5), rtol=0.02)


@pytest.mark.parametrize(
    ("kind", "solver"),
    [
        (sgm.ProbabilityFlow, diffrax.Euler()),
        (sgm.ProbabilityFlow, diffrax.Tsit5()),
        (sgm.ProbabilityFlow, sampling.UniPC(3)),
        (sgm.ProbabilityFlow, sampling.DPMSolver3()),
        (sgm.ReverseSDE, sampling.Ancestral()),
        (sgm.ReverseSDE, sgm.PredictorCorrector(diffrax.ShARK())),
    ],
)
@pytest.mark.parametrize("save", [0, 3, 20])
def test_the_plain_loop_takes_the_steps_of_diffeqsolve(kind, solver, save):
    sde = sgm.EDM()
    draw = functools.partial(
        sgm.sample, jax.random.key(0), kind(sde, DATA.score_fn(sde)), (4, 3), solver=solver, steps=7, save=save
    )
    chex.assert_trees_all_close(draw(), draw(adjoint=diffrax.ForwardMode()), rtol=1e-5, atol=1e-4)


def test_gradients_pass_through_the_sampler():
    sde = sgm.VP()

    @jax.jit
    @jax.value_and_grad
    def mean_of_samples(shift):
        data = Gaussian(mean=(0.0,), std=(0.5,))
        data.mean = jnp.array([shift])
        process = sgm.ProbabilityFlow(sde, data.score_fn(sde))
        out = sgm.sample(jax.random.key(0), process, (4, 1), steps=20, adjoint=diffrax.DirectAdjoint())
        return out.x.mean()

    h = 1e-2
    (high, _), (low, _), (_, gradient) = (mean_of_samples(shift) for shift in (0.3 + h, 0.3 - h, 0.3))
    np.testing.assert_allclose(gradient, (high - low) / (2 * h), rtol=1e-2)


def test_new_parameters_and_keys_compile_nothing():
    sde = sgm.VP()

    @chex.assert_max_traces(n=1)
    def apply(params, t, x):
        return params * x

    process = lambda scale: sgm.ProbabilityFlow(sde, sgm.as_score(sde, "noise", jax.tree_util.Partial(apply, scale)))

    @jax.jit
    @chex.assert_max_traces(n=1)
    def draw(key, scale, schedule):
        score = sgm.as_score(sde, "noise", lambda t, x: scale * x)
        return sgm.sample(key, sgm.ProbabilityFlow(sde, score), (2, 3), schedule=schedule).x

    for seed in range(3):
        schedule = jnp.asarray(sgm.karras(sde, 6, rho=5.0 + seed))
        draw(jax.random.key(seed), jnp.asarray(1.0 + seed), schedule)
    # Without an outer jit too: the parameters are leaves of the score function. One solve traces the network a few
    # times (shapes, loop, final step), so the count is taken after the first.
    traces = []

    def counted(params, t, x):
        traces.append(1)
        return params * x

    process = lambda scale: sgm.ProbabilityFlow(sde, sgm.as_score(sde, "noise", jax.tree_util.Partial(counted, scale)))
    sgm.sample(jax.random.key(0), process(jnp.asarray(1.0)), (2, 3), steps=6)
    first = len(traces)
    sgm.sample(jax.random.key(1), process(jnp.asarray(2.0)), (2, 3), steps=6)
    assert len(traces) == first


@pytest.mark.parametrize(
    ("process", "options", "match"),
    [
        (sgm.ProbabilityFlow, dict(), "steps="),
        (sgm.ProbabilityFlow, dict(steps=0), "got 0"),
        (sgm.ProbabilityFlow, dict(steps=5, rtol=1e-3), "either steps or tolerances"),
        (sgm.ProbabilityFlow, dict(rtol=-1.0, atol=1e-3), "rtol=-1.0"),
        (sgm.ProbabilityFlow, dict(rtol=1e-3), "atol=None"),
        (sgm.ProbabilityFlow, dict(rtol=1e-3, atol=1e-3, solver=diffrax.Euler()), "error estimate"),
        (sgm.ProbabilityFlow, dict(schedule=np.array([0.1, 1.0])), "decreasing"),
        (sgm.ProbabilityFlow, dict(schedule=np.array([1e4, 1.0])), "largest level"),
        (sgm.ProbabilityFlow, dict(steps=5, final="clean"), "'clean'"),
        (sgm.ProbabilityFlow, dict(steps=5, save=1), "got 1"),
        (sgm.ProbabilityFlow, dict(steps=5, x_init=jnp.zeros((3, 3))), r"\(2, 3\)"),
        (sgm.ReverseSDE, dict(steps=5, solver=sgm.DPMSolverPP()), "use diffrax.Euler"),
        (sgm.ReverseSDE, dict(steps=5, solver=diffrax.Dopri5()), "Stratonovich|ProbabilityFlow"),
        (sgm.ReverseSDE, dict(rtol=1e-3, atol=1e-3, solver=diffrax.Euler()), "ShARK"),
    ],
)
def test_bad_input_is_refused(process, options, match):
    sde = sgm.VP()
    with pytest.raises(ValueError, match=match):
        sgm.sample(jax.random.key(0), process(sde, DATA.score_fn(sde)), (2, 3), **options)
