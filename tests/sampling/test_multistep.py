import functools
import math

import chex
import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import Gaussian, Mixture
from scipy.integrate import quad

import sgm_jax as sgm
from sgm_jax import sampling
from sgm_jax.sampling.integrands import DenoisedForm, NoiseForm, SoftLog, VelocityForm, bh1, bh2
from sgm_jax.sampling.multistep import DPMSolverPP, ExponentialAdams, UniPC

FORMS = {"noise": NoiseForm(), "denoised": DenoisedForm(), "velocity": VelocityForm(0.7)}
LEVELS = sgm.karras(sgm.VP(), 8, s_min=0.02)
START = np.random.default_rng(0).normal(size=(3, 2)) * LEVELS[0]


def denoised(s, xbar):
    """A nonlinear stand-in for a network, in canonical coordinates."""
    return np.tanh(xbar / np.hypot(1, s)) * (1 - 0.3 * s / (1 + s))


def model():
    """Return the process whose denoised estimate is `denoised`."""
    sde = sgm.VP()

    def score(t, x):
        s, alpha = sgm.shapes.expand(sde.s(t), x), sgm.shapes.expand(sde.alpha(t), x)
        xbar = x / alpha
        return (jnp.tanh(xbar / jnp.hypot(1.0, s)) * (1 - 0.3 * s / (1 + s)) - xbar) / (alpha * s**2)

    return sgm.ProbabilityFlow(sde, score)


def run(solver, levels=LEVELS):
    """Return the final canonical state from `START`, in float64."""
    with jax.enable_x64(True):
        process = model()
        start = jnp.asarray(START) * process.sde.alpha(process.sde.t(levels[0]))
        out = sgm.sample(
            jax.random.key(0), process, START.shape, solver=solver, schedule=levels, x_init=start, final="none"
        )
        return np.asarray(out.x)


def unipc(order, kind, variant):
    """Zhao et al., 2023, with the linear systems for the coefficients as published, in canonical coordinates."""
    x, before, models, past = START, START, [], []
    for i, (s, then) in enumerate(zip(LEVELS[:-1], LEVELS[1:], strict=True)):
        model = denoised(s, x) if kind == "denoised" else (x - denoised(s, x)) / s
        if i:
            x = update(before, models, past, s, min(i, order), kind, variant, model)
        models, past = [model, *models], [s, *past]
        before = x
        x = update(x, models, past, then, min(i + 1, order), kind, variant, None)
    return x


def update(x, models, past, then, p, kind, variant, new):
    h = np.log(past[0] / then)
    r = [np.log(past[0] / s) / h for s in past[1:p]]
    differences = [(m - models[0]) / q for m, q in zip(models[1:p], r, strict=True)]
    hh = -h if kind == "denoised" else h
    big = {"bh1": hh, "bh2": np.expm1(hh)}[variant]
    r.append(1.0)
    phi, b, rows = np.expm1(hh) / hh - 1, [], []
    for k in range(1, p + 1):
        rows.append(np.power(r, k - 1))
        b.append(phi * math.factorial(k) / big)
        phi = phi / hh - 1 / math.factorial(k + 1)
    rows = np.array(rows)
    if new is not None:
        rho = np.array([0.5]) if p == 1 else np.linalg.solve(rows, b)
        differences.append(new - models[0])
    elif p == 2:
        rho = np.array([0.5])
    else:
        rho = np.linalg.solve(rows[:-1, :-1], b[:-1]) if p > 1 else []
    total = sum((c * d for c, d in zip(rho, differences, strict=True)), np.zeros_like(x))
    scale, factor = (then / past[0], 1.0) if kind == "denoised" else (1.0, then)
    return scale * x - factor * (np.expm1(hh) * models[0] + big * total)


@pytest.mark.parametrize("variant", [bh1, bh2])
@pytest.mark.parametrize("kind", ["noise", "denoised"])
@pytest.mark.parametrize("order", [2, 3])
def test_unipc_is_the_published_update(order, kind, variant):
    expected = unipc(order, kind, variant.__name__)
    np.testing.assert_allclose(run(UniPC(order, FORMS[kind], variant)), expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("order", [2, 3])
def test_dpm_solver_pp_is_the_published_update(order):
    """Lu et al., 2022, algorithm 2; the third order from the exact phi functions and Newton's polynomial."""
    x, models, past = START, [], []
    for i, (s, then) in enumerate(zip(LEVELS[:-1], LEVELS[1:], strict=True)):
        models, past = [denoised(s, x), *models], [s, *past]
        h = np.log(s / then)
        phi1 = -np.expm1(-h)
        phi2 = 1 - phi1 / h
        phi3 = 1 - 2 * phi2 / h
        target = phi1 * models[0]
        if i:
            r0 = np.log(past[1] / s) / h
            first = (models[0] - models[1]) / r0
            if i == 1 or order == 2:
                target = target + 0.5 * phi1 * first
            else:
                r1 = np.log(past[2] / past[1]) / h
                second = (first - (models[1] - models[2]) / r1) / (r0 + r1)
                target = target + phi2 * (first + r0 * second) + phi3 * second
        x = then / s * x + target
    np.testing.assert_allclose(run(DPMSolverPP(order)), x, rtol=1e-7, atol=1e-7)


def charted(kind, c=0.7):
    """Return clock, scale and integrand of each form, as written in the papers."""
    noise = lambda s, x: (x - denoised(s, x)) / s
    angle = lambda s: np.arctan(s / c)
    velocity = lambda s, x: np.cos(angle(s)) * noise(s, x) - np.sin(angle(s)) * denoised(s, x) / c
    return {
        "noise": (lambda s: s, lambda s: 1.0, noise),
        "denoised": (lambda s: 1 / s, lambda s: 1 / s, denoised),
        "velocity": (angle, lambda s: np.cos(angle(s)) / c, velocity),
    }[kind]


def adams(order, kind, variable):
    """Zhang and Chen, 2022, eq. 15: the Lagrange polynomials' integrals by adaptive quadrature."""
    clock, scale, integrand = charted(kind)
    x, models, past = START, [], []
    for s, then in zip(LEVELS[:-1], LEVELS[1:], strict=True):
        models, past = [integrand(s, x), *models][:order], [s, *past][:order]
        z = [variable(p) for p in past]

        def weight(j, z=z, s=s, then=then):
            def value(l):
                at = variable(np.exp(l))
                basis = math.prod((at - z[m]) / (z[j] - z[m]) for m in range(len(z)) if m != j)
                return basis * (clock(np.exp(l + 1e-5)) - clock(np.exp(l - 1e-5))) / 2e-5

            return quad(value, np.log(s), np.log(then), epsabs=1e-12)[0]

        x = (scale(s) * x + sum(weight(j) * m for j, m in enumerate(models))) / scale(then)
    return x


IDENTITY = lambda s: s


@pytest.mark.parametrize("variable", [jnp.log, IDENTITY])
@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("order", [2, 4])
def test_exponential_adams_integrates_the_polynomial_through_the_past(order, kind, variable):
    expected = adams(order, kind, np.log if variable is jnp.log else variable)
    np.testing.assert_allclose(run(ExponentialAdams(order, FORMS[kind], variable=variable)), expected, rtol=1e-6)


def test_deis_on_time_is_the_published_update():
    """Zhang and Chen, 2022: tAB, here of order 2, with a polynomial in the SDE's own time."""
    with jax.enable_x64(True):
        sde = sgm.VP()
        expected = adams(2, "noise", lambda s: float(sde.t(s)))
    np.testing.assert_allclose(run(ExponentialAdams(2, variable=sgm.VP().t)), expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ["noise", "denoised"])
def test_first_order_is_ddim(kind):
    np.testing.assert_allclose(run(ExponentialAdams(1, FORMS[kind])), run(diffrax.Euler()), rtol=1e-9)


@functools.cache
def mixture_flow():
    with jax.enable_x64(True):
        sde = sgm.EDM(t_min=0.05, t_max=80.0)
        process = sgm.ProbabilityFlow(sde, Mixture([[-1.0, 0.5], [1.0, 1.0], [0.3, -1.2]], 0.4).score_fn(sde))
        start = sde.prior_sample(jax.random.key(0), (64, 2)).astype(jnp.float64)
        options = dict(rtol=1e-12, atol=1e-12, solver=diffrax.Dopri8())
        out = sgm.sample(jax.random.key(0), process, (64, 2), x_init=start, final="none", **options)
        return process, start, out.x


def measured_order(solver, steps=(160, 320)):
    """Return minus the slope of the logarithm of the error in that of the number of steps."""
    process, start, exact = mixture_flow()
    with jax.enable_x64(True):
        errors = []
        for count in steps:
            options = dict(solver=solver, schedule=sgm.uniform_log_snr(process.sde, count), final="none")
            out = sgm.sample(jax.random.key(0), process, (64, 2), x_init=start, **options)
            errors.append(float(jnp.sqrt(jnp.mean((out.x - exact) ** 2))))
    return np.log(errors[0] / errors[1]) / np.log(steps[1] / steps[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("solver", "order"),
    [(ExponentialAdams(order, form), order) for order in (1, 2, 3, 4) for form in FORMS.values()]
    + [(ExponentialAdams(2, form, correction=1.0), 3) for form in FORMS.values()]
    + [(ExponentialAdams(3, variable=jnp.arctan), 3)]
    + [(DPMSolverPP(2), 2), (DPMSolverPP(3), 3), (UniPC(2), 3), (UniPC(3), 4), (UniPC(3, NoiseForm(), bh1), 4)],
)
def test_convergence_order(solver, order):
    assert abs(measured_order(solver) - order) < 0.25


SOLVERS = [
    DPMSolverPP(2),
    DPMSolverPP(3),
    UniPC(2, line=bh1),
    UniPC(3, NoiseForm()),
    ExponentialAdams(4, VelocityForm(0.7), correction=1.0),
    *(ExponentialAdams(4, form, variable=SoftLog(0.3), correction=1.0) for form in FORMS.values()),
]
DATA = Gaussian(mean=(0.2, -0.1, 0.0))


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_last_step_to_zero_noise_is_finite_right_and_counted(solver):
    sde, calls = sgm.EDM(), []
    score = DATA.score_fn(sde)

    def counting(t, x):
        jax.debug.callback(lambda: calls.append(1))
        return score(t, x)

    start = sde.prior_sample(jax.random.key(0), (8, 3))
    options = dict(x_init=start, solver=solver, schedule=np.append(sgm.karras(sde, 60), 0.0), final="none")
    out = sgm.sample(jax.random.key(0), sgm.ProbabilityFlow(sde, counting), (8, 3), **options)
    jax.effects_barrier()
    assert int(out.nfe) == len(calls) == 61
    shrink = DATA.std / jnp.sqrt(DATA.std**2 + sde.t_max**2)
    np.testing.assert_allclose(out.x, DATA.mean + (start - DATA.mean) * shrink, atol=1e-2)


@pytest.mark.parametrize("kind", FORMS)
def test_a_variable_finite_at_zero_keeps_the_order_of_a_last_step_to_zero(kind):
    errors, variable = [], SoftLog(0.3)
    with jax.enable_x64(True):
        sde, data = sgm.EDM(), Gaussian(mean=(0.2, -0.1, 0.0))
        start = sde.prior_sample(jax.random.key(0), (8, 3)).astype(jnp.float64)
        shrink = data.std / jnp.sqrt(data.std**2 + sde.t_max**2)
        exact = data.mean + (start - data.mean) * shrink
        for steps in (40, 80):
            options = dict(schedule=variable.schedule, steps=steps, x_init=start, final="none")
            solver = ExponentialAdams(3, FORMS[kind], variable=variable)
            process = sgm.ProbabilityFlow(sde, data.score_fn(sde))
            out = sgm.sample(jax.random.key(0), process, (8, 3), solver=solver, **options)
            errors.append(float(jnp.abs(out.x - exact).max()))
    assert np.log2(errors[0] / errors[1]) > 2.75, errors


@pytest.mark.slow
@pytest.mark.parametrize("solver", [SOLVERS[0], SOLVERS[3], SOLVERS[-1]])
def test_float32_stays_close_to_float64_over_many_steps(solver):
    def draw(dtype):
        sde = sgm.EDM(t_max=20.0)
        process = sgm.ProbabilityFlow(sde, Mixture([[-1.0, 0.5], [1.0, 1.0]], 0.4).score_fn(sde))
        start = jnp.asarray(np.random.default_rng(0).normal(size=(32, 2)) * 20, dtype)
        return sgm.sample(jax.random.key(0), process, (32, 2), x_init=start, solver=solver, steps=1000).x

    single = draw(jnp.float32)
    with jax.enable_x64(True):
        double = draw(jnp.float64)
    np.testing.assert_allclose(single, double, atol=2e-4)


@pytest.mark.slow
def test_new_schedules_compile_nothing_and_gradients_are_finite():
    sde = sgm.VP()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def slope(scale, schedule):
        def mean(scale, schedule):
            process = sgm.ProbabilityFlow(sde, sgm.as_score(sde, "noise", lambda t, x: scale * jnp.tanh(x)))
            options = dict(schedule=schedule, solver=ExponentialAdams(3, VelocityForm(), correction=1.0), final="none")
            return sgm.sample(jax.random.key(0), process, (2, 3), adjoint=diffrax.DirectAdjoint(), **options).x.mean()

        return jax.grad(mean, argnums=(0, 1))(scale, schedule)

    for rho in (3.0, 7.0):
        by_scale, by_schedule = slope(jnp.asarray(0.9), jnp.asarray(np.append(sgm.karras(sde, 6, rho=rho), 0.0)))
        assert jnp.isfinite(by_scale) and by_scale != 0
        assert jnp.all(jnp.isfinite(by_schedule))


@pytest.mark.slow
@pytest.mark.parametrize("solver", [DPMSolverPP(3), UniPC(3), ExponentialAdams(3, VelocityForm())])
@pytest.mark.parametrize("corrector", [sgm.Langevin(0.1, steps=2), None])
def test_samples_are_right_where_the_state_moves_between_the_steps(solver, corrector):
    sde, data = sgm.VP(), Gaussian(mean=(0.0, 0.0, 0.0))
    process = sgm.ProbabilityFlow(sde, data.score_fn(sde))
    keys = sgm.shapes.per_example_keys(jax.random.key(1), 20_000)
    s = jnp.asarray(sgm.karras(sde, 60, s_min=0.01))
    out = diffrax.diffeqsolve(
        process.terms(),
        sgm.PredictorCorrector(solver, corrector, constraint=lambda keys, t, x: x),
        t0=s[0],
        t1=s[-1],
        dt0=None,
        y0=s[0] * jax.random.normal(jax.random.key(0), (20_000, 3)),
        args=sampling.Context(process, keys, keys, keys),
        stepsize_controller=diffrax.StepTo(s),
        adjoint=diffrax.ForwardMode(),
    ).ys[-1]
    np.testing.assert_allclose(out.mean(0), data.mean, atol=0.025)
    np.testing.assert_allclose(out.std(0), data.std, rtol=0.03)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: ExponentialAdams(5), "1, 2, 3, 4, got 5"),
        (lambda: DPMSolverPP(1), "2, 3, got 1"),
        (lambda: UniPC(4), "2, 3, got 4"),
        (lambda: VelocityForm(0.0), "> 0, got 0.0"),
        (lambda: SoftLog(-1.0), "> 0, got -1.0"),
    ],
)
def test_bad_choices_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
