import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import Gaussian

import sgm_jax as sgm
from sgm_jax.sampling.noise import Recorded
from sgm_jax.sampling.restart import Restart, RestartInterval

DATA = Gaussian(mean=(0.3, 0.0, -0.4))
SDE = sgm.EDM()
INTERVALS = (RestartInterval(1.0, 5.0, 4, 2), RestartInterval(0.06, 0.3, 3, 3))


def denoiser(t, x):
    return jnp.tanh(x) / (1 + 0.1 * t[:, None])


def test_it_is_the_published_algorithm():
    """Xu et al., 2023, section 3, with Heun's method; the noises play back in order."""
    s = sgm.karras(SDE, 10)
    noise = jax.random.normal(jax.random.key(1), (5, 4, 3))
    start = 80 * jax.random.normal(jax.random.key(0), (4, 3))

    def heun(x, now, then):
        d = (x - denoiser(jnp.full(4, now), x)) / now
        euler = x + (then - now) * d
        return x + (then - now) * (d + (euler - denoiser(jnp.full(4, then), euler)) / then) / 2

    x, drawn = start, 0
    for now, then in zip(s[:-1], s[1:], strict=True):
        x = heun(x, now, then)
        for low, high, steps, repeats in INTERVALS:
            if then <= low < now:
                way = np.linspace(high ** (1 / 7), then ** (1 / 7), steps + 1) ** 7
                for _ in range(repeats):
                    x = x + np.sqrt(high**2 - then**2) * noise[drawn]
                    drawn += 1
                    for above, below in zip(way[:-1], way[1:], strict=True):
                        x = heun(x, above, below)
    out = sgm.sample(
        jax.random.key(9),
        sgm.ProbabilityFlow(SDE, sgm.as_score(SDE, "denoised", denoiser)),
        (4, 3),
        solver=Restart(diffrax.Heun(), INTERVALS, Recorded(noise)),
        schedule=s,
        x_init=start,
        final="none",
    )
    assert drawn == 5
    np.testing.assert_allclose(out.x, x, rtol=1e-4, atol=1e-4)


def test_restarts_repair_what_the_steps_before_them_broke():
    # From a start of the wrong spread, and from above the level where the data's scale is forgotten.
    process = sgm.ProbabilityFlow(SDE, DATA.score_fn(SDE))
    start = 0.5 * 80 * jax.random.normal(jax.random.key(0), (8000, 3))
    draw = lambda solver: sgm.sample(
        jax.random.key(1), process, start.shape, solver=solver, x_init=start, steps=30
    ).x.std(0)
    plain = draw(diffrax.Heun())
    restarted = draw(Restart(diffrax.Heun(), (RestartInterval(0.05, 10.0, 20, 2),)))
    assert np.all(np.abs(plain / DATA.std - 1) > 0.3)
    np.testing.assert_allclose(restarted, DATA.std, rtol=0.04)


@pytest.mark.parametrize("solver", [diffrax.Heun(), diffrax.Bosh3(), sgm.DPMSolverPP()])
@pytest.mark.parametrize("constraint", [None, lambda keys, t, x: x])
def test_evaluations_are_counted_exactly(solver, constraint):
    calls, exact = [], DATA.score_fn(SDE)

    def score(t, x):
        jax.debug.callback(lambda: calls.append(1))
        return exact(t, x)

    process = sgm.ProbabilityFlow(SDE, score)
    out = sgm.sample(
        jax.random.key(0), process, (2, 3), solver=Restart(solver, INTERVALS), steps=6, constraint=constraint
    )
    jax.effects_barrier()
    assert int(out.nfe) == len(calls)


def test_an_example_does_not_depend_on_its_batch():
    process = sgm.ProbabilityFlow(SDE, DATA.score_fn(SDE))
    draw = lambda count: (
        sgm.sample(jax.random.key(3), process, (count, 3), solver=Restart(sgm.DPMSolverPP(), INTERVALS), steps=8).x
    )
    np.testing.assert_allclose(draw(2), draw(5)[:2], atol=1e-5)


@pytest.mark.parametrize(
    ("intervals", "match"),
    [
        ((), "at least one RestartInterval"),
        ((RestartInterval(2.0, 1.0, 3, 1),), "s_min < s_max, got RestartInterval"),
        ((RestartInterval(1.0, 2.0, 0, 1),), "at least one step"),
        ((RestartInterval(0.0, 2.0, 3, 1),), "within the schedule"),
    ],
)
def test_bad_intervals_are_refused(intervals, match):
    process = sgm.ProbabilityFlow(SDE, DATA.score_fn(SDE))
    with pytest.raises(ValueError, match=match):
        sgm.sample(jax.random.key(0), process, (2, 3), solver=Restart(diffrax.Heun(), intervals), steps=5)


@pytest.mark.parametrize(
    ("process", "options", "match"),
    [
        (sgm.ReverseSDE(SDE, DATA.score_fn(SDE)), dict(steps=5), "Restart integrates a ProbabilityFlow"),
        (sgm.ProbabilityFlow(SDE, DATA.score_fn(SDE)), dict(rtol=0.1, atol=0.1), "error estimate.*got Restart"),
    ],
)
def test_it_fits_fixed_steps_of_the_flow_alone(process, options, match):
    with pytest.raises(ValueError, match=match):
        sgm.sample(jax.random.key(0), process, (2, 3), solver=Restart(diffrax.Heun(), INTERVALS), **options)
