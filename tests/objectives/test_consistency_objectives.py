"""Consistency losses: exact for Gaussian data, whose consistency function is known, with the limits they should have.

The data are N(MEAN, VARIANCE). Students are that function plus `theta` times another that is zero at the data's end.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import sgm_jax as sgm
from sgm_jax import objectives
from sgm_jax.objectives.consistency import adjacent, euler_step, heun_step, inverse_gap
from sgm_jax.objectives.continuous_consistency import weighted_tangent
from sgm_jax.partial_batch import part_key
from sgm_jax.score import EDMPreconditioned, NetworkScore

MEAN, VARIANCE, SCALE = 0.4, 0.3, 0.5
KEY = jax.random.key(0)
SDES = {"edm": sgm.EDM(t_min=0.01, t_max=20.0), "vp": sgm.VP(t_min=1e-3)}


def data(count, key=7):
    return MEAN + VARIANCE**0.5 * jax.random.normal(jax.random.key(key), (count, 1))


def canonical(sde, t, x):
    return jnp.asarray(sde.s(t)).reshape(-1, 1), x / jnp.asarray(sde.alpha(t)).reshape(-1, 1)


def student(sde, theta):
    def denoiser(t, x):
        s, xbar = canonical(sde, t, x)
        low = sde.s(sde.t_min)
        exact = MEAN + jnp.sqrt((VARIANCE + low**2) / (VARIANCE + s**2)) * (xbar - MEAN)
        return exact + theta * (s - low) / (s + 1) * (1 + 0.3 * jnp.tanh(xbar))

    return denoiser


def score(sde):
    def score_fn(t, x):
        s, xbar = canonical(sde, t, x)
        return -(xbar - MEAN) / (VARIANCE + s**2) / (x / xbar)

    return score_fn


def exact_step(sde, score_fn, high, low, x):
    (s0, xbar), (s1, _) = canonical(sde, high, x), canonical(sde, low, x)
    shrink = jnp.sqrt((VARIANCE + s1**2) / (VARIANCE + s0**2))
    return jnp.asarray(sde.alpha(low)).reshape(-1, 1) * (MEAN + shrink * (xbar - MEAN))


def distil(theta, sde, count=256, **options):
    f = student(sde, theta)
    return objectives.consistency_distillation(KEY, sde, f, f, score(sde), data(count), **options).mean()


def train(theta, sde, count, **options):
    f = student(sde, theta)
    return objectives.consistency_training(KEY, sde, f, f, data(count), **options).mean()


@pytest.mark.parametrize("name, distance", [("vp", "l2"), ("edm", "pseudo_huber")])
def test_the_consistency_function_has_no_loss_and_the_gradient_pulls_towards_it(name, distance):
    options = dict(step=exact_step, distance=objectives.DISTANCES[distance], levels=12)
    loss = jax.jit(jax.value_and_grad(functools.partial(distil, sde=SDES[name], **options)))
    assert loss(0.0)[0] < 2e-4
    for theta in (-0.3, 0.3):
        value, gradient = loss(theta)
        assert value > 5e-4 and gradient * theta > 0


@pytest.mark.parametrize("step, order", [(euler_step, 4), (heun_step, 6)])
def test_the_loss_that_teachers_steps_leave_falls_with_their_order(step, order):
    """The square of the error of a step, of second or third order."""
    with jax.enable_x64(True):
        loss = jax.jit(lambda n: distil(0.0, sgm.EDM(t_min=0.2, t_max=2.0), step=step, levels=n, rho=1.0))
        few, many = loss(33), loss(65)
    assert np.log2(few / many) == pytest.approx(order, abs=0.3)


def test_training_has_the_gradient_of_distillation_as_levels_grow():
    """Song et al., 2023, theorem 2."""
    options = dict(sde=SDES["edm"], count=2**16)
    distilled = jax.jit(lambda levels: jax.grad(distil)(0.3, step=exact_step, levels=levels, **options))
    trained = jax.jit(lambda levels: jax.grad(train)(0.3, levels=levels, **options))
    differences = [abs(trained(levels) / distilled(levels) - 1) for levels in (3, 48)]
    assert differences[1] < 0.05 < 0.1 < differences[0]


def test_the_continuous_loss_has_the_limit_of_the_discrete_gradient():
    sde, levels = SDES["vp"], 4000
    times = lambda key, sde, count: sde.t(jnp.geomspace(0.05, 8.0, count))
    upper = lambda key, sde, count: adjacent(sde, times(key, sde, count), levels)[1]
    weighting = lambda low, high: (high**2 + SCALE**2) / (SCALE * high * (high - low))

    def continuous(theta):
        f = student(sde, theta)
        return objectives.continuous_consistency_distillation(
            KEY, sde, f, score(sde), data(64), data_scale=SCALE, times=upper, tangent=lambda g: g
        ).mean()

    with jax.enable_x64(True):
        discrete = functools.partial(distil, sde=sde, count=64, levels=levels, times=times, weighting=weighting)
        gradient = jax.jit(jax.grad(continuous))
        np.testing.assert_allclose(gradient(0.2), jax.jit(jax.grad(discrete))(0.2), rtol=0.01)
        assert abs(gradient(0.0)) < 1e-6


def test_tangents_are_those_of_finite_differences():
    with jax.enable_x64(True):
        sde, s, h = SDES["vp"], jnp.array([0.1, 1.0, 7.0]), 1e-5
        x = jnp.asarray(sde.alpha(sde.t(s)))[:, None] * (data(3) + s[:, None])
        f, denoised = student(sde, 0.5), data(3, key=8)
        _, g = weighted_tangent(sde, f, sde.t(s), x, denoised, SCALE)
        xbar = canonical(sde, sde.t(s), x)[1]
        noise = (xbar - denoised) / s[:, None]
        at = lambda s, xbar: f(sde.t(s), jnp.asarray(sde.alpha(sde.t(s)))[:, None] * xbar)
        slope = (at(s + h, xbar + h * noise) - at(s - h, xbar - h * noise)) / (2 * h)
        np.testing.assert_allclose(g, jnp.hypot(s, SCALE)[:, None] * slope, rtol=1e-5)


def test_the_tangent_is_the_papers_of_a_network_that_is_preconditioned_as_edms():
    """Lu and Song, 2024, algorithm 1, for the variance-preserving state and `F` of the opposite sign."""
    weights = jax.random.normal(jax.random.key(1), (2, 2))
    network = lambda label, x: jnp.sin(x @ weights + label[:, None])
    sde, warmup, t = SDES["edm"], 0.3, jnp.array([0.2, 0.9, 1.4])
    x0, z = (SCALE * jax.random.normal(jax.random.key(i), (3, 2)) for i in (2, 3))
    cos, sin = jnp.cos(t)[:, None], jnp.sin(t)[:, None]
    x, velocity = cos * x0 + sin * z, cos * z - sin * x0

    def papers(x_scaled, t):
        s = SCALE * jnp.tan(t)
        return -network(0.25 * jnp.log(s), x_scaled)

    output, slope = jax.jvp(papers, (x / SCALE, t), (cos * sin * velocity / SCALE, (cos * sin)[:, 0]))
    wanted = -(cos**2) * (SCALE * output - velocity) - warmup * (cos * sin * x + SCALE * slope)
    s = SCALE * jnp.tan(t)
    f = NetworkScore(sde, EDMPreconditioned(SCALE), network).denoised
    ours, g = weighted_tangent(sde, f, s, x / cos, x0, SCALE, warmup)
    np.testing.assert_allclose(ours, cos * x - sin * SCALE * output, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(g, wanted, rtol=2e-3, atol=1e-4)


def test_without_its_unstable_part_continuous_training_is_denoising():
    sde = SDES["edm"]
    times = lambda key, sde, count: sde.t(jnp.geomspace(0.1, 8.0, count))

    def continuous(theta):
        return objectives.continuous_consistency_training(
            KEY, sde, student(sde, theta), data(64), data_scale=SCALE, times=times, warmup=0.0, tangent=lambda g: g
        ).mean()

    def denoising(theta):
        t = times(KEY, sde, 64)
        noise = jax.random.normal(jax.random.split(KEY)[1], (64, 1))
        error = student(sde, theta)(t, sde.perturb(t, data(64), noise)) - data(64)
        return jnp.mean(SCALE / sde.s(t)[:, None] ** 2 * error**2)

    np.testing.assert_allclose(*(jax.jit(jax.grad(loss))(0.2) for loss in (continuous, denoising)), rtol=1e-4)


def test_the_adaptive_weighting_scales_losses_and_gradients_of_each_level():
    sde, t = SDES["edm"], jnp.geomspace(0.1, 8.0, 16)
    weights = jax.random.normal(jax.random.key(3), (objectives.LOG_WEIGHT_FEATURES,))
    log_weight = functools.partial(objectives.log_weight, weights)

    def losses(theta, log_weight=None):
        f, times = student(sde, theta), lambda key, sde, count: t
        return objectives.continuous_consistency_distillation(
            KEY, sde, f, score(sde), data(16), data_scale=SCALE, times=times, log_weight=log_weight
        )

    (plain, slope), (weighted, steeper) = (
        jax.jvp(functools.partial(losses, log_weight=w), (0.3,), (1.0,)) for w in (None, log_weight)
    )
    scale = np.exp(log_weight(sde.s(t)))
    assert scale.max() > 1.5 * scale.min()
    np.testing.assert_allclose(weighted, scale * plain - np.log(scale), rtol=1e-4)
    np.testing.assert_allclose(steeper, scale * slope, rtol=1e-4, atol=1e-6)


def test_the_adaptive_weighting_learns_the_inverse_of_the_expected_loss():
    s = jnp.geomspace(0.01, 20.0, 64)
    expected = 0.05 + s / (1 + s)

    def loss(weights):
        return objectives.adaptively_weighted(expected, objectives.log_weight(weights, s)).mean()

    found = scipy.optimize.minimize(
        jax.jit(jax.value_and_grad(loss)), np.zeros(objectives.LOG_WEIGHT_FEATURES), jac=True, method="L-BFGS-B"
    )
    weight = np.exp(objectives.log_weight(jnp.asarray(found.x, jnp.float32), s))
    np.testing.assert_allclose(weight * expected, 1, rtol=0.1)


def test_parts_of_a_batch_have_their_rows_of_the_losses():
    sde = SDES["edm"]
    f = student(sde, 0.2)

    @jax.jit
    def losses(key, x0):
        times = objectives.TruncatedLogNormalTimes()
        discrete = objectives.consistency_training(key, sde, f, f, x0, times=times, weighting=inverse_gap)
        return jnp.stack([discrete, objectives.continuous_consistency_training(key, sde, f, x0)], axis=1)

    whole, part = losses(KEY, data(12)), losses(part_key(KEY, 1, 3, 12), data(12)[1::3])
    np.testing.assert_allclose(part, whole[1::3], rtol=1e-5)


def test_levels_are_drawn_as_often_as_published():
    """Uniformly (Song et al., 2023), or in proportion to the log-normal's mass (Song and Dhariwal, 2023, eq. 9)."""
    sde, count, levels = SDES["edm"], 4096, 10
    s = np.sort(np.asarray(sgm.karras(sde, levels - 1)))
    cdf = jax.scipy.stats.norm.cdf(np.log(s), -1.1, 2.0)
    for times, mass in (
        (objectives.KarrasTimes(), np.full(levels - 1, 1.0)),
        (objectives.TruncatedLogNormalTimes(-1.1, 2.0), np.diff(cdf)),
    ):
        low, high = jax.jit(lambda key, times=times: adjacent(sde, times(key, sde, count), levels))(KEY)
        index = np.searchsorted(s, np.asarray(sde.s(high)) * (1 - 1e-4))
        np.testing.assert_allclose(low, s[index - 1], rtol=1e-4)
        np.testing.assert_allclose(np.bincount(index, minlength=levels)[1:] / count, mass / mass.sum(), atol=2 / count)


def test_schedules_have_the_values_of_their_formulas():
    progressive = objectives.ProgressiveLevels(2, 150, 800_000)
    assert [int(progressive(k)) for k in (0, 400_000)] == [2, 107]
    rate = objectives.ProgressiveRate(progressive, 0.9)
    np.testing.assert_allclose([rate(0), rate(400_000)], [0.9, 0.9 ** (2 / 107)], rtol=1e-6)
    doubling = objectives.DoublingLevels(10, 1280, 400_000)
    assert [int(doubling(k)) for k in (0, 49_999, 50_000, 349_999, 350_000, 399_999)] == [11, 11, 21, 641, 1281, 1281]


def test_pseudo_huber_is_quadratic_near_and_euclidean_far():
    zero = jnp.zeros((2, 3))
    far, near = 10.0 * jnp.ones((2, 3)), 1e-5 * jnp.ones((2, 3))
    c = 0.00054 * 3**0.5
    np.testing.assert_allclose(objectives.PseudoHuber()(far, zero), 300**0.5 - c, rtol=1e-5)
    np.testing.assert_allclose(objectives.PseudoHuber()(near, zero), 3e-10 / (2 * c), rtol=1e-3)
    assert jnp.isfinite(jax.grad(lambda x: objectives.PseudoHuber()(x, zero).sum())(zero)).all()
