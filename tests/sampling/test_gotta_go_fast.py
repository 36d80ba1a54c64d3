"""Adaptive steps of the reverse SDE, and the solver published for them."""

import functools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import SDES, Gaussian

import sgm_jax as sgm
from sgm_jax.sampling.charts import Hyperbolic
from sgm_jax.sampling.gotta_go_fast import GottaGoFast, PublishedControl, redrawn_increment
from sgm_jax.shapes import expand, per_example_keys

DATA = Gaussian(mean=(0.3, 0.0, -0.4))
PUBLISHED = dict(solver=GottaGoFast(redrawn_increment), controller=PublishedControl)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vp", {}),
        ("edm", {}),
        ("cosine", dict(solver=diffrax.SRA1())),
        ("vp", dict(solver=GottaGoFast())),
        ("ve", PUBLISHED),
    ],
)
def test_adaptive_samples_of_gaussian_data_have_its_moments(name, options):
    sde = SDES[name]
    process = sgm.ReverseSDE(sde, DATA.score_fn(sde))
    out = sgm.sample(jax.random.key(0), process, (5000, 3), rtol=0.02, atol=0.02, **options)
    np.testing.assert_allclose(out.x.mean(0), DATA.mean, atol=0.05)
    np.testing.assert_allclose(out.x.std(0), DATA.std, rtol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("solver", [diffrax.ShARK(), diffrax.SRA1(), GottaGoFast()])
def test_tolerances_bound_the_error_along_each_path(solver):
    sde = sgm.EDM(t_min=0.02, t_max=10.0)
    process = sgm.ReverseSDE(sde, DATA.score_fn(sde))
    draw = lambda tol, count=16: sgm.sample(
        jax.random.key(0), process, (count, 3), solver=solver, rtol=tol, atol=tol, max_steps=2**14
    )
    loose, tight, reference = draw(1e-2), draw(1e-3), draw(1e-4)
    errors = [float(jnp.sqrt(jnp.mean((out.x - reference.x) ** 2))) for out in (loose, tight)]
    assert errors[0] < 0.1 and errors[1] < 0.4 * errors[0]
    # The same paths with fewer examples around, though other steps.
    np.testing.assert_allclose(draw(1e-3, 3).x, reference.x[:3], atol=0.02)


@pytest.mark.slow
def test_it_is_the_published_algorithm_one_example_at_a_time():
    """Jolicoeur-Martineau et al., 2021, algorithm 1, in VP's own time, with a noise that can be written down."""
    sde, rtol, atol = sgm.VP(t_min=1e-3), 0.1, 0.05
    score = lambda t, x: -x / (0.2 + expand(t, x)) + jnp.sin(x)
    z = lambda t0, t1: np.array([np.cos(5 * t0 + 9 * t1), np.sin(7 * t1)])
    start = np.array([[0.4, -1.2], [1.5, 0.3]])

    def increment(terms, t0, t1, y, args):
        noise = jnp.stack([jnp.cos(-5 * t0 - 9 * t1), jnp.sin(-7 * t1)])
        return jnp.broadcast_to(jnp.sqrt(t1 - t0) * noise, y.shape)

    def published(x):
        f = lambda x, t: (
            float(sde.drift_coefficient(t)) * x
            - float(sde.diffusion(t)) ** 2 * np.asarray(score(jnp.full(1, t), jnp.asarray(x)[None])[0])
        )
        g = lambda t: float(sde.diffusion(t))
        t, h, before, count, rejected = 1.0, 0.01 * (1 - 1e-3), x, 0, 0
        while t > 1e-3 + 1e-9:
            noise = np.sqrt(h) * z(t, t - h)
            k1 = -h * f(x, t) + g(t) * noise
            k2 = -h * f(x + k1, t - h) + g(t - h) * noise
            low, high = x + k1, x + 0.5 * (k1 + k2)
            delta = np.maximum(atol, rtol * np.maximum(np.abs(before), np.abs(low)))
            error = np.sqrt(np.mean(((low - high) / delta) ** 2))
            count, rejected = count + 2, rejected + (error > 1)
            if error <= 1:
                x, t, before = high, t - h, low
            h = min(t - 1e-3, 0.9 * h * error**-0.9)
        return x, count, rejected

    with jax.enable_x64(True):
        process = sgm.ReverseSDE(sde, score, chart=sgm.OwnTime())
        one = lambda key, x: sgm.sample(
            key[None],
            process,
            (1, 2),
            solver=GottaGoFast(increment),
            controller=PublishedControl,
            rtol=rtol,
            atol=atol,
            x_init=x[None],
            final="none",
        )
        out = jax.vmap(one)(per_example_keys(jax.random.key(0), 2), jnp.asarray(start))
        for i in range(2):
            x, count, rejected = published(start[i])
            assert int(out.nfe[i]) == count and rejected > 0
            np.testing.assert_allclose(out.x[i, 0] * sde.alpha(sde.t_min), x, rtol=1e-4, atol=1e-6)


def test_a_retried_step_draws_anew_only_as_published():
    # On one path a smaller second try shares the first try's increment; drawn anew the two are independent.
    keys = per_example_keys(jax.random.key(0), 2000)
    context = sgm.sampling.Context(sgm.ReverseSDE(sgm.VP(), DATA.score_fn(sgm.VP())), keys, keys, keys)
    y = jnp.zeros((2000, 1))
    draw = functools.partial(redrawn_increment, None, jnp.float32(-1.0), y=y, args=context)
    first, second = draw(t1=jnp.float32(-0.5)), draw(t1=jnp.float32(-0.75))
    np.testing.assert_allclose([first.std(), second.std()], [0.5**0.5, 0.5], rtol=0.06)
    assert abs(np.corrcoef(first[:, 0], second[:, 0])[0, 1]) < 0.07


@pytest.mark.parametrize(
    ("solver", "match"),
    [
        (diffrax.SlowRK(), "diffrax.ShARK.*got SlowRK"),
        (diffrax.SEA(), "got SEA"),
        (sgm.PredictorCorrector(diffrax.SEA()), "got SEA"),
    ],
)
def test_adaptive_steps_need_an_error_estimate(solver, match):
    process = sgm.ReverseSDE(sgm.VP(), DATA.score_fn(sgm.VP()))
    with pytest.raises(ValueError, match=match):
        sgm.sample(jax.random.key(0), process, (2, 3), solver=solver, rtol=0.1, atol=0.1)


def test_the_hyperbolic_chart_carries_each_point_along_the_same_flow():
    sde = sgm.VP()
    start = sde.prior_sample(jax.random.key(0), (16, 3))
    draw = lambda chart: (
        sgm.sample(
            jax.random.key(1),
            sgm.ProbabilityFlow(sde, DATA.score_fn(sde), chart),
            (16, 3),
            x_init=start,
            rtol=1e-6,
            atol=1e-6,
        ).x
    )
    np.testing.assert_allclose(draw(Hyperbolic(0.7)), draw(sgm.Angle()), atol=1e-3)
