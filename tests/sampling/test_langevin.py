import functools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import Gaussian, Mixture

import sgm_jax as sgm
from sgm_jax.sampling.langevin import (
    annealed_langevin,
    langevin_levels,
    mala,
    overdamped_langevin,
    underdamped_langevin,
)
from sgm_jax.sampling.noise import Recorded

MEAN, STD = jnp.array([0.5, -1.0]), jnp.array([0.4, 0.8])
log_density = lambda x: -0.5 * jnp.sum(((x - MEAN) / STD) ** 2, axis=1)
score = jax.grad(lambda x: log_density(x).sum())
MIXTURE = Mixture([[-1.0, 0.5], [1.0, 1.0], [0.3, -1.2]], 0.6)

CHAINS = {
    "overdamped": functools.partial(overdamped_langevin, step_size=0.01, steps=300),
    "overdamped_SEA": functools.partial(overdamped_langevin, step_size=0.02, steps=150, solver=diffrax.SEA()),
    "ALIGN": functools.partial(underdamped_langevin, step_size=0.1, steps=100),
    "ShOULD": functools.partial(underdamped_langevin, step_size=0.2, steps=60, solver=diffrax.ShOULD()),
    "QUICSORT": functools.partial(underdamped_langevin, step_size=0.2, steps=60, solver=diffrax.QUICSORT()),
}


def test_annealed_langevin_equals_the_published_update():
    """Song and Ermon, 2019, algorithm 1, written out, and the denoising step of 2020."""
    sde, per_level, eps = sgm.EDM(t_min=0.01, t_max=1.0), 3, 2e-5
    levels = np.geomspace(1.0, 0.01, 5)
    noise = np.random.default_rng(0).standard_normal((len(levels) * per_level, 4, 2))
    start = np.random.default_rng(1).uniform(size=(4, 2))
    mean, std = np.asarray(MEAN), np.asarray(STD)
    slope = lambda s, x: (mean - x) / (std**2 + s**2)
    x, i = start, 0
    for s in levels:
        step = eps * (s / levels[-1]) ** 2
        for _ in range(per_level):
            x, i = x + step * slope(s, x) + np.sqrt(2 * step) * noise[i], i + 1
    denoised = x + levels[-1] ** 2 * slope(levels[-1], x)

    solver = annealed_langevin(eps, 0.01, per_level)
    source = Recorded(jnp.asarray(noise, jnp.float32))
    solver = sgm.PredictorCorrector(solver.solver, sgm.Langevin(solver.corrector.snr, per_level, source=source))
    process = sgm.ReverseSDE(sde, Gaussian(MEAN, STD).score_fn(sde))
    options = dict(solver=solver, schedule=langevin_levels, steps=5, x_init=jnp.asarray(start, jnp.float32))
    for final, expected, calls in (("none", x, 15), ("tweedie", denoised, 16)):
        out = sgm.sample(jax.random.key(0), process, (4, 2), final=final, **options)
        np.testing.assert_allclose(out.x, expected, rtol=1e-5, atol=1e-5)
        assert int(out.nfe) == calls


@pytest.mark.parametrize(("snr", "step_size"), [(0.176, 6.2e-6), (0.128, 3.3e-6), (0.095, 1.8e-6), (0.316, 2e-5)])
def test_published_step_sizes_and_ratios_agree(snr, step_size):
    # Both are published for s_min = 0.01, to two and three digits.
    np.testing.assert_allclose(annealed_langevin(step_size, 0.01).corrector.snr, snr, rtol=0.005)


@pytest.mark.slow
def test_annealed_langevin_samples_a_mixture():
    sde = sgm.EDM(t_min=0.1, t_max=5.0)
    process = sgm.ReverseSDE(sde, MIXTURE.score_fn(sde))
    solver = annealed_langevin(2 * (0.2 * 0.1) ** 2, 0.1, steps=10)
    out = sgm.sample(jax.random.key(0), process, (3000, 2), solver=solver, schedule=langevin_levels, steps=40)
    nearest = jnp.argmin(jnp.sum((out.x[:, None] - MIXTURE.means) ** 2, -1), axis=1)
    # At that width the nearest mean is another than a sample's own for a few in a hundred, alike for all three.
    np.testing.assert_allclose(np.bincount(nearest, minlength=3) / 3000, 1 / 3, atol=0.04)
    np.testing.assert_allclose(out.x.mean(0), MIXTURE.means.mean(0), atol=0.06)
    expected = jnp.sqrt(MIXTURE.means.var(0) + MIXTURE.std**2)
    np.testing.assert_allclose(out.x.std(0), expected, rtol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAINS)
def test_chains_reach_a_gaussian(name):
    x = CHAINS[name](jax.random.key(0), score, jnp.zeros((8000, 2)))
    np.testing.assert_allclose(x.mean(0), MEAN, atol=0.05)
    np.testing.assert_allclose(x.std(0), STD, rtol=0.04)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["overdamped", "ALIGN"])
def test_chains_sample_a_mixture(name):
    noisy = functools.partial(MIXTURE.score_fn(sgm.EDM()), jnp.asarray(0.0))
    steps = 500 if name == "overdamped" else 200
    start = jax.random.normal(jax.random.key(1), (4000, 2))
    x = functools.partial(CHAINS[name], steps=steps)(jax.random.key(0), noisy, start)
    np.testing.assert_allclose(x.mean(0), MIXTURE.means.mean(0), atol=0.08)
    np.testing.assert_allclose(x.std(0), jnp.sqrt(MIXTURE.means.var(0) + MIXTURE.std**2), rtol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("step_size", [0.05, 0.3])
def test_mala_leaves_the_target_invariant(step_size):
    # The larger step is near the stability limit of 2 std**2 = 0.32, where unadjusted chains have a far wider spread.
    start = MEAN + STD * jax.random.normal(jax.random.key(1), (20_000, 2))
    chains = mala(jax.random.key(0), log_density, start, step_size=step_size, steps=30)
    np.testing.assert_allclose(chains.x.mean(0), MEAN, atol=0.025)
    np.testing.assert_allclose(chains.x.std(0), STD, rtol=0.02)
    biased = overdamped_langevin(jax.random.key(0), score, start, step_size=step_size, steps=30)
    assert biased.std(0)[0] > 1.05 * STD[0]


@pytest.mark.slow
def test_mala_samples_a_mixture():
    start = jax.random.normal(jax.random.key(1), (4000, 2))
    chains = mala(jax.random.key(0), MIXTURE.log_density, start, step_size=0.15, steps=200)
    np.testing.assert_allclose(chains.x.mean(0), MIXTURE.means.mean(0), atol=0.08)
    np.testing.assert_allclose(chains.x.std(0), jnp.sqrt(MIXTURE.means.var(0) + MIXTURE.std**2), rtol=0.05)


@pytest.mark.slow
def test_acceptance_falls_with_the_step_as_it_should():
    start = MEAN + STD * jax.random.normal(jax.random.key(1), (2000, 2))
    rates = [
        float(mala(jax.random.key(0), log_density, start, step_size=h, steps=20).acceptance.mean())
        for h in (1e-3, 0.05, 0.2, 1.0, 1e4)
    ]
    assert rates[0] > 0.99 and np.all(np.diff(rates) < 0) and rates[-1] < 0.01


def test_acceptance_is_the_published_probability():
    # One proposal a chain from the same place: the mean acceptance is an integral, taken here with independent draws.
    h, x = 0.25, jnp.array([[0.9, -0.2]])
    start = jnp.broadcast_to(x, (40_000, 2))
    measured = mala(jax.random.key(0), log_density, start, step_size=h, steps=1).acceptance.mean()
    y = start + h * score(start) + jnp.sqrt(2 * h) * jax.random.normal(jax.random.key(1), start.shape)
    way = lambda a, b: -jnp.sum((b - a - h * score(a)) ** 2, axis=1) / (4 * h)
    ratio = log_density(y) + way(y, start) - log_density(start) - way(start, y)
    np.testing.assert_allclose(measured, jnp.minimum(jnp.exp(ratio), 1).mean(), atol=0.01)


@pytest.mark.slow
def test_a_chain_depends_on_its_own_key_alone():
    for run in (
        functools.partial(mala, step_size=0.1, steps=5),
        functools.partial(overdamped_langevin, step_size=0.1, steps=5),
        functools.partial(underdamped_langevin, step_size=0.1, steps=5),
    ):
        function = log_density if run.func is mala else score
        many, few = (run(jax.random.key(0), function, jnp.zeros((count, 2))) for count in (6, 2))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a[:2], b, rtol=1e-5), many, few)


@pytest.mark.slow
def test_underdamped_chains_keep_their_equilibrium_to_the_published_order():
    # The bias of the variance of a Gaussian target falls at least with the square of the step for ALIGN.
    start = STD * jax.random.normal(jax.random.key(1), (40_000, 2)) + MEAN
    run = lambda h: underdamped_langevin(jax.random.key(0), score, start, step_size=h, steps=round(8 / h))
    coarse, fine = (float(run(h).std(0)[0] / start.std(0)[0] - 1) for h in (0.5, 0.125))
    assert abs(coarse) > 0.02 and abs(fine) < abs(coarse) / 4 + 0.01


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: annealed_langevin(-1e-5, 0.01), "step_size must be > 0, got -1e-05"),
        (lambda: annealed_langevin(1e-5, 0.01, 0), "got 0"),
        (lambda: langevin_levels(sgm.EDM(), 0), "steps must be > 0, got 0"),
        (lambda: mala(jax.random.key(0), log_density, jnp.zeros((1, 2)), step_size=0.0, steps=3), "step_size"),
        (lambda: overdamped_langevin(jax.random.key(0), score, jnp.zeros((1, 2)), step_size=0.1, steps=0), "steps"),
        (
            lambda: underdamped_langevin(
                jax.random.key(0), score, jnp.zeros((1, 2)), step_size=0.1, steps=1, friction=-1.0
            ),
            "friction",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(call, match):
    with pytest.raises(ValueError, match=match):
        call()
