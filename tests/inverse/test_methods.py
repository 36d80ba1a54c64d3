"""Methods against what is known in closed form: Gaussian posteriors, and the kernels that they promise."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import SDES, Gaussian
from linear_gaussian import CorrelatedGaussian, matrix, spectral

import sgm_jax as sgm
from sgm_jax import inverse, sampling
from sgm_jax.inverse.measurement import Measurement

SIZE = 5
EXACT = {
    "PiGDM": (inverse.PiGDM(0.7), CorrelatedGaussian(SIZE, 0.7)),
    "MomentMatching": (inverse.MomentMatching(SIZE), CorrelatedGaussian(SIZE)),
}


def measured(data, operator, count=2):
    return jax.vmap(operator.measure)(jax.random.split(jax.random.key(2), count), data.sample(jax.random.key(3), count))


@pytest.mark.parametrize(
    ("name", "sde", "kind", "noise_std"),
    [
        pytest.param("PiGDM", "vp", float, 0.3, marks=pytest.mark.slow),
        ("MomentMatching", "edm", complex, 0.3),
        pytest.param("PiGDM", "rectified_flow", complex, 0.3, marks=pytest.mark.slow),
        pytest.param("PiGDM", "edm", float, 0.0, marks=pytest.mark.slow),
        pytest.param("MomentMatching", "vp", float, 0.0, marks=pytest.mark.slow),
    ],
)
def test_posterior_scores_of_gaussian_data_are_exact(name, sde, kind, noise_std):
    (method, data), sde = EXACT[name], SDES[sde]
    dense = jnp.asarray(matrix(3 if kind is float else 2, SIZE, kind))
    operator = spectral(dense, noise_std) if kind is float else inverse.Linear(lambda x: dense @ x, (SIZE,), noise_std)
    measurement = Measurement(operator, measured(data, operator))
    t = sde.t(jnp.array([0.2, 0.5, 2.0, 5.0]))
    x = sde.perturb(t, data.sample(jax.random.key(4), 4), jax.random.normal(jax.random.key(5), (4, SIZE)))
    truth = inverse.GaussianPosterior(data.mean, data.covariance)
    ours, exact = (jax.jit(m.condition(sde, data.score_fn(sde), measurement).__call__)(t, x) for m in (method, truth))
    np.testing.assert_allclose(ours, exact, rtol=2e-3, atol=2e-3 * np.abs(exact).max())


def test_gaussian_posterior_is_that_of_bayes_rule():
    data, noise_std = CorrelatedGaussian(SIZE), 0.3
    dense = matrix(3, SIZE)
    y = measured(data, spectral(dense, noise_std), 1)[0]
    mean, covariance = inverse.GaussianPosterior(data.mean, data.covariance).posterior(spectral(dense, noise_std), y)
    precision = np.linalg.inv(data.covariance) + dense.T @ dense / noise_std**2
    shift = np.linalg.inv(data.covariance) @ data.mean + dense.T @ y / noise_std**2
    np.testing.assert_allclose(covariance, np.linalg.inv(precision), atol=1e-4)
    np.testing.assert_allclose(mean, np.linalg.solve(precision, shift), atol=1e-3)


def posterior_errors(method, data, noise_std, sde, samples=20000, **options):
    """Return the errors of mean and covariance, relative to the prior's."""
    operator = spectral(matrix(3, SIZE), noise_std)
    y = measured(data, operator, 1)
    out = inverse.solve(
        jax.random.key(0), sde, data.score_fn(sde), operator, y, method=method, samples=samples, **options
    )
    mean, covariance = inverse.GaussianPosterior(data.mean, data.covariance).posterior(operator, y[0])
    off = jnp.linalg.norm(out.mean[0] - mean) / jnp.sqrt(jnp.trace(data.covariance))
    return float(off), float(jnp.linalg.norm(jnp.cov(out.x[:, 0].T) - covariance) / jnp.linalg.norm(data.covariance))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sde", "options"),
    [
        ("MomentMatching", "edm", dict(steps=100)),
        ("PiGDM", "vp", dict(steps=100)),
        ("MomentMatching", "vp", dict(process=sgm.ProbabilityFlow, steps=50)),
        ("PiGDM", "rectified_flow", dict(process=sgm.ProbabilityFlow, rtol=1e-4, atol=1e-4)),
        ("PiGDM", "subvp", dict(solver=diffrax.ShARK(), steps=200)),
    ],
)
def test_exact_scores_give_the_posterior_with_any_solver(name, sde, options):
    method, data = EXACT[name]
    assert max(posterior_errors(method, data, 0.3, SDES[sde], **options)) < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("noise_std", [0.3, 0.05, 0.0])
def test_particles_give_the_posterior_of_gaussian_data(noise_std):
    method, data = inverse.TwistedDiffusion(inverse.PiGDM(0.7)), EXACT["PiGDM"][1]
    assert max(posterior_errors(method, data, noise_std, SDES["edm"], steps=200)) < 0.02


@pytest.mark.slow
def test_proposals_of_particles_have_the_covariance_that_the_twisting_function_leaves():
    guide, s, variance, noise_std, count = inverse.PiGDM(0.7), jnp.array(0.6), jnp.array(0.2), 0.3, 40000
    dense = matrix(3, SIZE)
    solver = inverse.twisted.TwistedSolver(guide, Measurement(spectral(dense, noise_std), jnp.zeros((1, 3))))
    noise = jax.random.normal(jax.random.key(0), (count, SIZE))
    deviation, narrower = jax.jit(lambda *given: solver.spread(*given))(
        jax.random.split(jax.random.key(1), count), s, variance, noise
    )
    r2 = 0.7**2 * s**2 / (0.7**2 + s**2)
    seen = (r2 / s**2) ** 2 * dense.T @ np.linalg.inv(r2 * dense @ dense.T + noise_std**2 * np.eye(3)) @ dense
    np.testing.assert_allclose(np.cov(deviation.T), np.linalg.inv(np.eye(SIZE) / variance + seen), atol=0.005)
    np.testing.assert_allclose(narrower, np.einsum("bi,ij,bj->b", deviation, seen, deviation), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_annealed_langevin_comes_near_the_posterior():
    """Within what the benchmark shows of its bias at these settings."""
    errors = posterior_errors(inverse.AnnealedLangevin(), CorrelatedGaussian(SIZE), 0.3, SDES["edm"], steps=200)
    assert max(errors) < 0.15


@pytest.mark.parametrize(
    "method", [inverse.DDRM(), pytest.param(inverse.DDRM(0.5, 0.6), marks=pytest.mark.slow), inverse.DDNMPlus()]
)
def test_steps_from_a_perfect_estimate_have_the_noise_of_their_end(method):
    """From `x0 + s0 z`, with `x0` as the estimate, a step to `s1` leads to `x0 + s1 z`: what the papers prove."""
    count, s0, s1 = 20000, jnp.array(1.5), jnp.array(0.9)
    keys = jax.random.split(jax.random.key(0), count)
    x0 = jnp.linspace(-1, 1, SIZE)
    dense = spectral(matrix(3, SIZE))

    @jax.jit
    def steps(noise_std):
        operator = eqx.tree_at(lambda operator: operator.noise_std, dense, noise_std)

        def step(key):
            noise = jax.random.normal(jax.random.fold_in(key, 1), (2, SIZE))
            return method.transition(operator, operator.measure(key, x0), s0, s1, x0 + s0 * noise[0], x0, noise[1])

        return jax.vmap(step)(keys)

    for noise_std in (0.0, 0.4, 2.0):
        error = (steps(jnp.array(noise_std)) - x0) / s1
        np.testing.assert_allclose(error.mean(0), 0, atol=0.03)
        np.testing.assert_allclose(np.cov(error.T), np.eye(SIZE), atol=0.05)


def test_diffpir_takes_the_proximal_step():
    dense, noise_std, s, weight = matrix(3, SIZE), 0.3, jnp.array(0.8), 2.0
    denoised, y = jnp.linspace(-1, 1, SIZE), jnp.array([0.3, -0.2, 1.0])
    refined = inverse.DiffPIR(weight).refine(spectral(dense, noise_std), y, s, denoised)
    precision = dense.T @ dense / noise_std**2 + weight / s**2 * np.eye(SIZE)
    target = dense.T @ y / noise_std**2 + weight / s**2 * denoised
    np.testing.assert_allclose(refined, np.linalg.solve(precision, target), atol=1e-5)


@pytest.mark.parametrize(
    "method",
    [
        inverse.Projection(),
        pytest.param(inverse.DDNM(), marks=pytest.mark.slow),
        pytest.param(inverse.DDNMPlus(), marks=pytest.mark.slow),
        pytest.param(inverse.RePaint(1), marks=pytest.mark.slow),
        pytest.param(inverse.MCG(), marks=pytest.mark.slow),
    ],
)
def test_known_pixels_are_kept_exactly_and_independent_ones_are_those_of_unconditional_samples(method):
    data, sde, key = Gaussian(), SDES["vp"], jax.random.key(0)
    operator = inverse.Mask(jnp.array([1.0, 0.0, 0.0]), (3,))
    y = jnp.array([[0.1, jnp.nan, 7.0], [0.9, 0.0, 0.0]])
    out = inverse.solve(key, sde, data.score_fn(sde), operator, y, method=method, samples=3, steps=10)
    np.testing.assert_array_equal(out.x[..., 0], jnp.broadcast_to(y[:, 0], (3, 2)))
    np.testing.assert_array_equal(out.residual, 0)
    own_steps = isinstance(method, inverse.AbstractTransition)
    solver = sampling.Ancestral() if own_steps else method.solver(Measurement(operator, y))
    free = sgm.sample(key, sgm.ReverseSDE(sde, data.score_fn(sde)), (6, 3), solver=solver, steps=10).x
    np.testing.assert_allclose(out.x[..., 1:], free.reshape(3, 2, 3)[..., 1:], atol=2e-5)


@pytest.mark.slow
def test_dps_explains_measurements_that_are_not_linear():
    data, sde = CorrelatedGaussian(SIZE), SDES["edm"]
    operator = inverse.NonLinear(lambda x: jnp.tanh(x[:3]) + 0.1 * x[1:4] ** 2, (SIZE,), 0.02)
    y = measured(data, operator, 3)
    out = inverse.solve(
        jax.random.key(0), sde, data.score_fn(sde), operator, y, method=inverse.DPS(), samples=50, steps=100
    )
    assert jnp.median(out.residual) < 0.1


@pytest.mark.slow
def test_systematic_resampling_rounds_each_share():
    weights = jnp.array([0.5, 0.07, 0.3, 0.13])
    resample = jax.jit(jax.vmap(inverse.twisted.systematic, (0, None)))
    drawn = resample(jax.random.split(jax.random.key(0), 2000), jnp.log(jnp.tile(weights / 5, 5)))
    counts = jnp.sum(drawn[:, :, None] == jnp.arange(20), axis=1)
    share = jnp.tile(weights / 5, 5) * 20
    assert jnp.all((counts >= jnp.floor(share)) & (counts <= jnp.ceil(share)))
    np.testing.assert_allclose(counts.mean(0), share, atol=0.05)


@pytest.mark.slow
def test_particles_find_the_weights_of_modes():
    """Sliced Wasserstein distance to exact samples of a mixture's posterior, in units of the prior's deviation."""
    rng, size, std, noise_std, count = np.random.default_rng(1), 8, 0.4, 0.1, 8000
    means, dense = rng.normal(size=(4, size)), matrix(2, size)
    # Between two modes, so that both count.
    y = dense @ means[1:3].mean(0)
    # Importance sampling: draws of the prior, weighted by their likelihoods.
    prior = means[rng.integers(4, size=1_000_000)] + std * rng.standard_normal((1_000_000, size))
    weights = np.exp(-0.5 * np.sum((y - prior @ dense.T) ** 2, 1) / noise_std**2)
    exact = prior[rng.choice(len(prior), count, p=weights / weights.sum())]
    centres = jnp.asarray(means, jnp.float32)

    def score(t, x):
        away = centres - x[:, None]
        variance = std**2 + t**2
        share = jax.nn.softmax(-0.5 * jnp.sum(away**2, -1, keepdims=True) / variance, axis=1)
        return jnp.sum(share * away, 1) / variance

    scale = np.sqrt(std**2 + means.var(0).mean())
    out = inverse.solve(
        jax.random.key(0),
        SDES["edm"],
        score,
        spectral(dense, noise_std),
        jnp.asarray(y, jnp.float32)[None],
        method=inverse.TwistedDiffusion(inverse.PiGDM(float(scale))),
        samples=count,
        steps=200,
    )
    directions = rng.normal(size=(size, 100))
    directions /= np.linalg.norm(directions, axis=0)
    sort = lambda x: np.sort(np.asarray(x) @ directions, axis=0)
    assert np.abs(sort(out.x[:, 0]) - sort(exact)).mean() < 0.05 * scale
