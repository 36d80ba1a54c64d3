"""Variational bounds against densities in closed form."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import Gaussian, Mixture
from scipy.stats import norm

import sgm_jax as sgm
from sgm_jax import bounds, objectives, sampling
from sgm_jax.scaling import Scaling

DATA = Gaussian()
SDES = {"vp": sgm.VP(t_min=1e-4), "ve": sgm.VE(sigma_min=0.01), "subvp": sgm.SubVP(t_min=1e-3), "edm": sgm.EDM()}


def negative_log_density(x, s=0.0):
    std = jnp.hypot(DATA.std, s)
    return -jnp.sum(-0.5 * ((x - DATA.mean) / std) ** 2 - jnp.log(std * jnp.sqrt(2 * jnp.pi)), axis=1)


@pytest.mark.parametrize("name", SDES)
def test_denoising_bound_is_tight_for_the_exact_score(name):
    sde, x0 = SDES[name], DATA.sample(jax.random.key(0), 4000)
    bound = bounds.likelihood_bound(jax.random.key(1), sde, DATA.score_fn(sde), x0, draws=64)
    gap = np.asarray(bound - negative_log_density(x0))
    error = gap.std() / np.sqrt(len(gap))
    assert error < 0.015 and -4 * error < gap.mean() < 0.05


@pytest.mark.parametrize("divergence", ["exact", "hutchinson"])
@pytest.mark.parametrize("name", SDES)
def test_implicit_bound_is_tight_for_the_exact_score(name, divergence):
    sde = SDES[name]
    x = DATA.sample(jax.random.key(0), 4000)
    bound = bounds.implicit_bound(jax.random.key(1), sde, DATA.score_fn(sde), x, draws=64, divergence=divergence)
    gap = np.asarray(bound - negative_log_density(x, sde.s(sde.t_min)))
    error = gap.std() / np.sqrt(len(gap))
    assert error < 0.015 and -4 * error < gap.mean() < 0.05


def test_bounds_lie_above_the_likelihood_of_a_wrong_model():
    # The reverse SDE of score -k x from N(0, c**2) noise gives Gaussian samples, whose variance is known.
    sde, k = sgm.EDM(t_min=0.02, t_max=5.0), 0.8
    score = lambda t, x: -x / (k * (1 + jnp.square(t)[..., None]))
    x = 1.3 * jax.random.normal(jax.random.key(0), (20_000, 1))
    levels = np.geomspace(5.0, 0.02, 4001)
    variance = 25.0
    for here, there in zip(levels[:-1] ** 2, levels[1:] ** 2, strict=True):
        shrink = 1 - (here - there) / (k * (1 + here))
        variance = shrink**2 * variance + (here - there)
    exact = -norm.logpdf(np.asarray(x[:, 0]), scale=np.sqrt(variance))
    gap = np.asarray(bounds.implicit_bound(jax.random.key(1), sde, score, x, draws=32, divergence="exact")) - exact
    error = gap.std() / np.sqrt(len(gap))
    assert gap.mean() > -4 * error
    # And it is the tighter the better the model.
    good = lambda t, x: -x / (1.69 + jnp.square(t)[..., None])
    better = bounds.implicit_bound(jax.random.key(1), sde, good, x, draws=32, divergence="exact")
    assert better.mean() < exact.mean() + gap.mean()


@pytest.mark.slow
def test_chain_bound_is_the_weighted_sum_of_score_matching_losses():
    sde, levels = sgm.EDM(), np.array([20.0, 3.0, 0.7, 0.2, 0.05])
    x0 = DATA.sample(jax.random.key(0), 50_000)
    exact = DATA.score_fn(sde)
    good, bad = exact, lambda t, x: 0.9 * exact(t, x)

    def difference(value):
        return float(value(bad).mean() - value(good).mean())

    chain = difference(lambda score: bounds.chain_bound(jax.random.key(1), sde, score, x0, levels))
    # 1/2 (s_i**2 / s_(i-1)**2 - 1) |noise error|**2 is the denoising loss at each level, so weighted; the decoder's
    # is half the squared error at the last level.
    total = 0.0
    for i, level in enumerate(levels):
        weight = (level / levels[i + 1]) ** 2 - 1 if i + 1 < len(levels) else 1.0
        times = objectives.LevelTimes(jnp.array([level]))
        loss = lambda score: sgm.denoising_score_matching(jax.random.key(2), sde, score, x0, times=times)  # noqa: B023
        total += weight * difference(loss)
    np.testing.assert_allclose(chain, total, rtol=0.05)


@pytest.mark.slow
def test_chain_bound_falls_to_the_continuous_one():
    sde, x0 = sgm.VP(t_min=1e-3), DATA.sample(jax.random.key(0), 5000)
    score = DATA.score_fn(sde)
    ends = float(sde.s(sde.t_max)), float(sde.s(sde.t_min))
    continuous = bounds.likelihood_bound(jax.random.key(1), sde, score, x0, draws=64).mean()
    gaps = [
        float(bounds.chain_bound(jax.random.key(2), sde, score, x0, np.geomspace(*ends, n)).mean() - continuous)
        for n in (21, 41, 81)
    ]
    # Of the first order in the length of a step, from above.
    assert gaps[2] > 0 and all(1.7 < coarse / fine < 3.0 for coarse, fine in itertools.pairwise(gaps))


def test_ddpm_bound_on_its_own_thousand_levels_in_closed_form():
    # For Gaussian data and its score the mean squared error of the noise is std**2 / (std**2 + s**2) a coordinate.
    sde, x0 = sgm.VP(t_min=1e-5), DATA.sample(jax.random.key(0), 2000)
    levels = sampling.discrete_vp(sde, 999)
    bound = np.asarray(bounds.chain_bound(jax.random.key(1), sde, DATA.score_fn(sde), x0, levels))
    mean, variance = np.asarray(DATA.mean, np.float64), np.square(np.asarray(DATA.std, np.float64))
    errors = (variance / (variance + levels[:, None] ** 2)).sum(axis=1)
    steps = 0.5 * np.sum((levels[:-1] ** 2 / levels[1:] ** 2 - 1) * errors[:-1])
    spread = float(sde.prior_std / sde.alpha(sde.t_max))
    prior = 0.5 * (mean**2 + variance + levels[0] ** 2) / spread**2 + np.log(spread * np.sqrt(2 * np.pi))
    entropy = len(mean) * (np.log(levels[0]) + 0.5 * np.log(2 * np.pi * np.e))
    decoder = 0.5 * errors[-1] + len(mean) * np.log(levels[-1] * np.sqrt(2 * np.pi))
    expected = prior.sum() - entropy + steps + decoder
    assert abs(bound.mean() - expected) < 4 * bound.std() / np.sqrt(len(bound))


def test_discretised_decoder_is_a_distribution_over_the_bins():
    scaling = Scaling(17)
    decoder = bounds.DiscretisedDecoder(scaling)
    centres = scaling.to_model(jnp.arange(17))[:, None]
    for denoised, s in ((0.3, 0.1), (-1.4, 0.05), (0.9, 0.02)):
        log_prob = decoder(centres, jnp.full_like(centres, denoised), jnp.asarray(s))
        np.testing.assert_allclose(jnp.exp(log_prob).sum(), 1, rtol=1e-4)
        edges = np.linspace(-1, 1, 18)
        edges[0], edges[-1] = -np.inf, np.inf
        expected = np.diff(norm.cdf((edges - denoised) / s))
        np.testing.assert_allclose(np.exp(log_prob), expected, rtol=1e-4, atol=1e-6)


def test_bound_of_integer_data_is_above_the_exact_probability():
    # Mixture data rounded to bins: the bound in nats of the integers against the cross entropy of the exact density.
    scaling, mixture = Scaling(64, -2.0, 2.0), Mixture([[-0.7], [0.6]], 0.25)
    sde = sgm.EDM(t_min=0.03)
    which = jax.random.randint(jax.random.key(0), (20_000,), 0, 2)
    x = mixture.means[which] + 0.25 * jax.random.normal(jax.random.key(1), (20_000, 1))
    raw = scaling.to_raw(x)
    decoder = bounds.DiscretisedDecoder(scaling)
    bound = bounds.likelihood_bound(
        jax.random.key(2), sde, mixture.score_fn(sde), scaling.to_model(raw), draws=32, decoder=decoder
    )
    edges = np.linspace(-2, 2, 65)
    edges[0], edges[-1] = -np.inf, np.inf
    cdf = 0.5 * sum(norm.cdf(edges, loc=m, scale=0.25) for m in (-0.7, 0.6))
    exact = -np.log(np.diff(cdf))[np.asarray(raw[:, 0])]
    gap = np.asarray(bound) - exact
    error = gap.std() / np.sqrt(len(gap))
    assert -4 * error < gap.mean() < 0.05


def test_bad_arguments_are_refused():
    x, sde, score = jnp.ones((2, 2)), sgm.EDM(), lambda t, x: -x
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        bounds.likelihood_bound(jax.random.key(0), sde, score, x, draws=0)
    with pytest.raises(ValueError, match="levels must be a decreasing array"):
        bounds.chain_bound(jax.random.key(0), sde, score, x, np.array([0.1, 1.0]))
    with pytest.raises(ValueError, match="did you mean 'exact'"):
        bounds.implicit_bound(jax.random.key(0), sde, score, x, divergence="exct")
    with pytest.raises(ValueError, match="levels=None"):
        bounds.DiscretisedDecoder(Scaling(None))
