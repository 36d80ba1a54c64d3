import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import SDES, Gaussian

import sgm_jax as sgm
from sgm_jax.sampling.thresholding import DynamicThreshold, StaticThreshold, threshold

RULES = [StaticThreshold(-0.5, 0.2), DynamicThreshold(0.8, -0.5, 0.2)]


@pytest.mark.parametrize("name", SDES)
@pytest.mark.parametrize("rule", RULES, ids=["static", "dynamic"])
def test_the_denoised_estimate_is_the_thresholded_one(name, rule):
    sde, data = SDES[name], Gaussian()
    t = jnp.linspace(sde.t_min, sde.t_max, 9)[1:-1]
    x = sde.perturb(t, data.sample(jax.random.key(0), 7), jax.random.normal(jax.random.key(1), (7, 3)))
    wrapped = sgm.as_denoiser(sde, threshold(sde, data.score_fn(sde), rule))(t, x)
    expected = rule(data.denoised(sde, t, x))
    # The estimate is a difference of two terms of the size of x / alpha.
    scale = 1 + np.max(np.abs(x / sde.alpha(t)[:, None]), axis=1, keepdims=True)
    assert np.max(np.abs(wrapped - expected) / scale) < 5e-6


def test_an_estimate_within_range_leaves_the_score_as_it_was():
    sde, data = sgm.VP(), Gaussian()
    t, x = jnp.linspace(0.01, 0.9, 5), jax.random.normal(jax.random.key(0), (5, 3))
    plain = data.score_fn(sde)(t, x)
    for rule in (StaticThreshold(-50.0, 50.0), DynamicThreshold(0.9, -50.0, 50.0)):
        np.testing.assert_allclose(threshold(sde, data.score_fn(sde), rule)(t, x), plain, rtol=1e-3)
    assert jnp.array_equal(threshold(sde, data.score_fn(sde), StaticThreshold(-50.0, 50.0))(t, x), plain)


def test_dynamic_threshold_follows_the_published_definition():
    """Saharia et al., 2022, section 2.3, in NumPy, example by example; then on another range."""
    x = np.random.default_rng(0).normal(0, np.array([0.2, 1.0, 3.0])[:, None, None], (3, 8, 5)).astype(np.float32)
    expected = []
    for example in x:
        s = max(np.percentile(np.abs(example), 90), 1.0)
        expected.append(np.clip(example, -s, s) / s)
    np.testing.assert_allclose(DynamicThreshold(0.9)(jnp.asarray(x)), expected, rtol=1e-5)
    np.testing.assert_allclose(
        DynamicThreshold(0.9, 0.0, 1.0)(jnp.asarray(0.5 + 0.5 * x)), 0.5 + 0.5 * np.array(expected), atol=1e-6
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("process", "solver"),
    [
        (sgm.ProbabilityFlow, sgm.DPMSolverPP()),
        (sgm.ProbabilityFlow, diffrax.Heun()),
        (sgm.ReverseSDE, diffrax.Euler()),
        (sgm.ReverseSDE, sgm.PredictorCorrector()),
    ],
)
@pytest.mark.parametrize("rule", RULES, ids=["static", "dynamic"])
def test_samples_stay_within_bounds(process, solver, rule):
    # Most of the data lie outside.
    sde = sgm.VP()
    score = threshold(sde, Gaussian().score_fn(sde), rule)
    out = sgm.sample(jax.random.key(0), process(sde, score), (200, 3), solver=solver, steps=20, save=3)
    bounded = lambda x: jnp.all((x >= rule.low - 1e-5) & (x <= rule.high + 1e-5))
    assert bounded(out.x) and bounded(out.trajectory.denoised[1:])
    assert not bounded(sgm.sample(jax.random.key(0), sgm.ProbabilityFlow(sde, score.score_fn), (200, 3), steps=20).x)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: StaticThreshold(1.0, -1.0), "low=1.0, high=-1.0"),
        (lambda: DynamicThreshold(low=2.0), "low=2.0"),
        (lambda: DynamicThreshold(99.5), "99.5"),
    ],
)
def test_bad_ranges_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
