"""The variational diffusion bound on Gaussian data, whose negative log-likelihood is known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from closed_form import Gaussian

import sgm_jax as sgm
from sgm_jax import bounds
from sgm_jax.levels import StepLevels, uniform_time_levels

DATA = Gaussian()


def schedule(seed=None, log_snr_max=9.0, log_snr_min=-9.0):
    sde = sgm.learned_vp(log_snr_max, log_snr_min, width=8)
    if seed is None:
        return sde
    bumps = 2 * jax.random.normal(jax.random.key(seed), (8,))
    return eqx.tree_at(lambda sde: sde.rise.log_weights, sde, sde.rise.log_weights + bumps)


@jax.jit
def variational(sde, x0):
    return sgm.variational_diffusion(jax.random.key(1), sde, DATA.score_fn, x0, draws=24)


def gap_to_exact(sde, x0):
    z = (x0 - DATA.mean) / DATA.std
    return np.asarray(variational(sde, x0) - jnp.sum(0.5 * z**2 + jnp.log(DATA.std * jnp.sqrt(2 * jnp.pi)), axis=1))


def test_bound_is_tight_whatever_the_schedules_interior():
    x0 = DATA.sample(jax.random.key(0), 4000)
    gaps = [gap_to_exact(schedule(seed), x0) for seed in (None, 1)]
    errors = [gap.std() / np.sqrt(len(gap)) for gap in gaps]
    for gap, error in zip(gaps, errors, strict=True):
        assert error < 0.025 and -4 * error < gap.mean() < 0.05
    assert abs(gaps[0].mean() - gaps[1].mean()) < 4 * np.hypot(*errors)
    # And it is the library's other estimate of the same bound.
    sde = schedule(1)
    other = jax.jit(lambda key: bounds.likelihood_bound(key, sde, DATA.score_fn(sde), x0, draws=24))(jax.random.key(2))
    difference = np.asarray(other - variational(sde, x0))
    assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(len(x0))


@pytest.mark.slow
def test_ends_get_the_gradient_of_the_bound_and_the_interior_that_of_its_variance():
    x0, sde, key = DATA.sample(jax.random.key(0), 4000), schedule(1), jax.random.key(1)
    loss = lambda sde: sgm.variational_diffusion(key, sde, DATA.score_fn, x0, draws=8).mean()
    gradient = jax.jit(jax.grad(loss))(sde)

    def terms(sde):
        return bounds.bound_terms(key, sde, DATA.score_fn(sde), x0, draws=8, levels=uniform_time_levels)

    bound = jax.jit(jax.grad(lambda sde: terms(sde).total.mean()))(sde)
    np.testing.assert_allclose(gradient.log_snr_max, bound.log_snr_max, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(gradient.log_span, bound.log_span, rtol=1e-3, atol=1e-4)
    # By the levels' own dependence on the schedule, through the model: another estimate with the same mean.
    moment = lambda sde: jnp.log(jnp.square(terms(sde).diffusion).mean())
    pathwise = jax.jit(jax.grad(moment))(sde).rise.log_weights
    ours = gradient.rise.log_weights
    assert jnp.vdot(ours, pathwise) > 0.97 * jnp.linalg.norm(ours) * jnp.linalg.norm(pathwise)
    np.testing.assert_allclose(jnp.linalg.norm(ours), jnp.linalg.norm(pathwise), rtol=0.1)


@pytest.mark.slow
def test_training_lowers_the_variance_inside_and_the_bound_at_the_ends():
    begin, optimizer, steps = schedule(1, log_snr_max=4.0, log_snr_min=-3.0), optax.adam(0.03), 300

    def step(carry, key):
        sde, state = carry
        x0 = DATA.sample(jax.random.fold_in(key, 0), 256)
        gradient = jax.grad(lambda sde: sgm.variational_diffusion(key, sde, DATA.score_fn, x0).mean())(sde)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(sde, updates), state), None

    train = jax.jit(lambda sde, keys: jax.lax.scan(step, (sde, optimizer.init(sde)), keys)[0][0])
    end = train(begin, jax.random.split(jax.random.key(2), steps))
    x0 = DATA.sample(jax.random.key(0), 4000)
    assert gap_to_exact(end, x0).mean() < 0.5 * gap_to_exact(begin, x0).mean()
    spread = lambda sde: np.std(
        bounds.bound_terms(
            jax.random.key(3), sde, DATA.score_fn(sde), x0, draws=8, levels=uniform_time_levels
        ).diffusion
    )
    # With the same ends, so that the interior alone is compared.
    same_ends = eqx.tree_at(lambda sde: sde.rise, end, begin.rise)
    assert spread(end) < 0.9 * spread(same_ends)


def test_discrete_form_is_the_bound_of_the_chain():
    x0, sde, steps = DATA.sample(jax.random.key(0), 4000), schedule(1), 10
    levels = np.asarray(sde.s(jnp.linspace(1, 0, steps + 1)))

    @jax.jit
    def both(x0):
        ours = sgm.discrete_variational_diffusion(jax.random.key(1), sde, DATA.score_fn, x0, steps=steps, draws=20)
        return ours, bounds.chain_bound(jax.random.key(2), sde, DATA.score_fn(sde), x0, levels, draws=2)

    ours, chain = both(x0)
    gap = np.asarray(ours - chain)
    assert abs(gap.mean()) < 4 * gap.std() / np.sqrt(len(gap))
    # Well above the continuous bound, so that the test tells them apart.
    assert ours.mean() > variational(sde, x0).mean() + 0.3


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        StepLevels(0)
