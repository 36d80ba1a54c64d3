"""Progressive distillation and reflow of Gaussian data, whose flow is linear: targets, students, pairs are known."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import SDES, Gaussian

import sgm_jax as sgm
from sgm_jax import objectives
from sgm_jax.objectives import progressive_distillation, reflow, reflow_pairs, two_steps_in_one
from sgm_jax.score import as_noise
from sgm_jax.shapes import expand

DATA = Gaussian()
LEVELS = np.array([20.0, 9.0, 4.0, 2.0, 1.0, 0.5, 0.2, 0.05, 0.0])
TOP = 20.0


def linear(sde, slope):
    """Return the score function whose noise estimate is `slope(s) (x / alpha - mean)`."""

    def score(t, x):
        xbar = x / expand(sde.alpha(t), x)
        return -slope(jnp.broadcast_to(sde.s(t), x.shape[:1])) * (xbar - DATA.mean) / expand(sde.sigma(t), x)

    return score


def slope_of_two_steps(s0, s1, s2):
    """Return `k` [d] such that `x0 + (s2 - s0) k (x0 - mean)` is where two DDIM steps of the exact flow end."""
    variance = np.asarray(DATA.std) ** 2
    grow = lambda a, b: 1 + (b - a) * a / (a**2 + variance)
    return (grow(s0, s1) * grow(s1, s2) - 1) / (s2 - s0)


@pytest.mark.parametrize("name", ["vp", "rectified_flow"])
def test_one_step_of_the_target_is_two_of_the_teacher(name):
    sde, x = SDES[name], 4 * jax.random.normal(jax.random.key(0), (5, 3))
    noise_fn = as_noise(sde, DATA.score_fn(sde))
    for s0, s1, s2 in ((4.0, 2.0, 1.0), (1.0, 0.3, 0.0)):
        noise = two_steps_in_one(noise_fn, x, *(jnp.full(5, s) for s in (s0, s1, s2)))
        np.testing.assert_allclose(noise, slope_of_two_steps(s0, s1, s2) * (x - DATA.mean), rtol=1e-4, atol=1e-6)
        middle = x + (s1 - s0) * noise_fn(s0, x)
        end = middle + (s2 - s1) * noise_fn(s1, middle)
        np.testing.assert_allclose(x + (s2 - s0) * noise, end, atol=1e-6 * float(jnp.abs(x).max()))


@pytest.mark.parametrize("stride", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_student_of_progressive_distillation_in_closed_form(stride):
    """Its loss vanishes at every level that it is asked at, and no other slope's does."""
    sde, x0 = sgm.VP(), DATA.sample(jax.random.key(0), 64)
    taken = LEVELS[::stride]
    slopes = jnp.array([slope_of_two_steps(*taken[i : i + 3]) for i in range(0, len(taken) - 2, 2)])
    at = jnp.array(taken[:-2:2])

    def slope(s):
        return slopes[jnp.argmin(jnp.abs(jnp.log(s[:, None] / at)), axis=1)]

    def loss(factor):
        student = linear(sde, lambda s: factor * slope(s))
        return progressive_distillation(
            jax.random.key(1), sde, student, DATA.score_fn(sde), x0, levels=LEVELS, stride=jnp.int32(stride)
        ).mean()

    losses = jax.jit(jax.vmap(loss))(jnp.array([0.99, 1.0, 1.01]))
    assert losses[1] < 1e-7 < 1e-3 * losses[0] and losses[1] < 1e-3 * losses[2]
    # No gradient enters the teacher.
    teach = lambda scale: progressive_distillation(
        jax.random.key(1), sde, linear(sde, slope), lambda t, x: scale * DATA.score_fn(sde)(t, x), x0, levels=LEVELS
    ).sum()
    assert jax.grad(teach)(1.1) == 0


def test_weightings_are_those_of_the_papers():
    """Stated there as factors on the error of the denoised data, which is `s` times that of the noise."""
    sde, t = sgm.VP(), jnp.array([0.05, 0.4, 0.9])
    s, snr = sde.s(t), (sde.alpha(t) / sde.sigma(t)) ** 2
    np.testing.assert_allclose(objectives.truncated_snr_weighting(sde, t), s**2 * jnp.maximum(snr, 1), rtol=1e-5)
    np.testing.assert_allclose(objectives.snr_plus_one_weighting(sde, t), s**2 * (snr + 1), rtol=1e-5)
    # The velocity noise - x0 of x = (1 - t) x0 + t noise, given x.
    flow = sgm.RectifiedFlow()
    np.testing.assert_allclose(objectives.flow_weighting(flow, t), 1 / flow.alpha(t) ** 2, rtol=1e-5)


@pytest.mark.slow
def test_reflow_of_gaussian_data_is_one_step():
    """The pairs lie on the known linear coupling, the exact student's loss vanishes, one Euler step is exact."""
    teacher, key, shape = sgm.VP(), jax.random.key(2), (64, 3)
    process = sgm.ProbabilityFlow(teacher, DATA.score_fn(teacher))
    x0, noise = reflow_pairs(key, process, shape, schedule=sgm.karras(teacher, 80, s_min=0.01, s_max=TOP))
    shrink = DATA.std / jnp.hypot(DATA.std, TOP)
    coupled = DATA.mean + shrink * (x0 + TOP * noise - DATA.mean)
    np.testing.assert_allclose(x0, coupled, atol=4e-3)

    rate = (1 - shrink) / TOP
    student = sgm.RectifiedFlow(t_max=TOP / (1 + TOP))
    straight = linear(student, lambda s: rate / (shrink + expand(s, x0) * rate))
    loss = reflow(jax.random.key(3), student, straight, x0, noise).mean()
    assert loss < 1e-3 * reflow(jax.random.key(3), student, DATA.score_fn(student), x0, noise).mean()
    options = dict(solver=diffrax.Euler(), schedule=np.array([TOP, 0.0]), final="none")
    one = sgm.sample(key, sgm.ProbabilityFlow(student, straight), shape, **options)
    assert int(one.nfe) == 1
    np.testing.assert_allclose(one.x, coupled, atol=1e-4)
