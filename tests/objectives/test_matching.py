"""Every form of score matching against the explicit one, on data whose score is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import Mixture

import sgm_jax as sgm
from sgm_jax import objectives
from sgm_jax.divergence import PROJECTIONS, gaussian, rademacher, sphere

MIXTURE = Mixture([[1.0, 0.5], [-0.8, -0.6], [0.3, -1.2]], 0.6)
LEVEL = 0.3
STATIC = sgm.EDM(t_min=1e-6)
FORMS = {
    name: functools.partial(matching, projection=projection)
    for projection in (rademacher, gaussian, sphere)
    for name, matching in (
        (f"sliced, {projection.__name__}", objectives.sliced_score_matching),
        (f"sliced_vr, {projection.__name__}", objectives.sliced_score_matching_vr),
        (f"finite_difference, {projection.__name__}", objectives.finite_difference_score_matching),
    )
} | {"implicit": objectives.MATCHINGS["implicit"]}


def true_score(x, s=1e-6):
    return MIXTURE.score_fn(STATIC)(jnp.full(x.shape[:1], s), x)


def draw(key, count, s=0.0):
    which, noise = jax.random.split(key)
    means = MIXTURE.means[jax.random.randint(which, (count,), 0, len(MIXTURE.means))]
    return means + jnp.hypot(MIXTURE.std, s) * jax.random.normal(noise, means.shape)


def model(theta, x, s=1e-6):
    """Linear in its parameters, with the truth at (1, 0, 0, 0, 0)."""
    swirl = jnp.stack([jnp.sin(x[:, 1]), -x[:, 0]], axis=1)
    return theta[0] * true_score(x, s) + theta[1] * x + theta[2] * swirl + theta[3:]


def minimiser(loss, size=5):
    """Minimise a quadratic loss in one Newton step."""
    zero = jnp.zeros(size)
    return -jnp.linalg.solve(jax.hessian(loss)(zero), jax.grad(loss)(zero))


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_have_the_explicit_minimiser(form):
    x, key = draw(jax.random.key(0), 100_000), jax.random.key(1)
    loss = jax.jit(lambda theta: FORMS[form](key, lambda x: model(theta, x), x).mean())
    np.testing.assert_allclose(minimiser(loss), [1, 0, 0, 0, 0], atol=0.03)


@pytest.mark.parametrize("form", objectives.MATCHINGS)
def test_minimiser_on_gaussian_data_is_the_inverse_covariance(form):
    # The linear score -P (x - m), its five numbers in theta.
    root = jnp.array([[0.8, 0.0], [0.5, 0.4]])
    x = jax.random.normal(jax.random.key(0), (50_000, 2)) @ root.T + jnp.array([0.3, -0.2])

    def loss(theta):
        linear = lambda x: theta[3:] - x @ jnp.array([[theta[0], theta[1]], [theta[1], theta[2]]])
        return objectives.MATCHINGS[form](jax.random.key(1), linear, x).mean()

    found, precision = minimiser(jax.jit(loss)), jnp.linalg.inv(root @ root.T)
    expected = jnp.concatenate([precision[jnp.triu_indices(2)], precision @ jnp.array([0.3, -0.2])])
    np.testing.assert_allclose(found, expected, atol=0.03 * float(jnp.abs(expected).max()))


def test_denoising_at_a_level_has_the_noisy_score_as_its_minimiser():
    x, key = draw(jax.random.key(0), 100_000), jax.random.key(1)
    loss = lambda theta: objectives.denoising_at_level(key, lambda x: model(theta, x, LEVEL), x, LEVEL).mean()
    np.testing.assert_allclose(minimiser(jax.jit(loss)), [1, 0, 0, 0, 0], atol=0.03)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_agree_with_the_explicit_objective_within_their_standard_error(form):
    x, theta = draw(jax.random.key(2), 40_000), jnp.array([0.4, 0.3, -0.5, 0.1, 0.2])
    keys = jax.random.split(jax.random.key(3), len(x))

    @functools.partial(jax.vmap, in_axes=(0, 0))
    def difference(key, example):
        losses = lambda theta: (
            FORMS[form](key, lambda x: model(theta, x), example[None])
            - objectives.explicit_score_matching(lambda x: model(theta, x), true_score, example[None])
        ).sum()
        return jax.grad(losses)(theta)

    gradients = np.asarray(jax.jit(difference)(keys, x), np.float64)
    standard_error = gradients.std(axis=0) / np.sqrt(len(x))
    # The finite difference in float32 adds its own error.
    assert np.all(np.abs(gradients.mean(axis=0)) < 4.5 * standard_error + 2e-3)


def test_implicit_objective_of_a_linear_model_in_closed_form():
    x = draw(jax.random.key(0), 50)
    matrix = jnp.array([[-1.0, 0.3], [0.7, -2.0]])
    loss = objectives.implicit_score_matching(lambda x: x @ matrix.T, x)
    np.testing.assert_allclose(loss, 0.5 * jnp.sum((x @ matrix.T) ** 2, axis=1) - 3.0, rtol=1e-5)


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_projections_have_the_identity_as_covariance(projection):
    v = PROJECTIONS[projection](jax.random.key(0), (200_000, 3))
    np.testing.assert_allclose(v.T @ v / len(v), jnp.eye(3), atol=0.01)


@pytest.mark.parametrize(("projection", "plain", "reduced"), [(gaussian, 60.0, 20.0), (rademacher, 45.0, 0.0)])
def test_variance_reduction_lowers_the_variance_as_worked_out_by_hand(projection, plain, reduced):
    # For a standard Gaussian in d dimensions and its own score, over x and Gaussian v, the variance around the
    # implicit objective is d (d + 2) / 2 against 2 d; with random signs it is d (d - 1) / 2 against none.
    x, score = jax.random.normal(jax.random.key(0), (400_000, 10)), lambda x: -x
    implicit = 0.5 * jnp.sum(x**2, axis=1) - 10

    def variance(matching, **options):
        loss = matching(jax.random.key(1), score, x, projection=projection, **options)
        return jnp.mean(jnp.square(loss - implicit))

    np.testing.assert_allclose(variance(objectives.sliced_score_matching), plain, rtol=0.03)
    np.testing.assert_allclose(variance(objectives.sliced_score_matching_vr), reduced, rtol=0.03, atol=1e-6)
    np.testing.assert_allclose(variance(objectives.sliced_score_matching, slices=4), plain / 4, rtol=0.03)


def test_finite_differences_are_of_second_order():
    x = draw(jax.random.key(0), 200)
    score = lambda x: model(jnp.array([0.5, -0.3, 0.4, 0.0, 0.0]), x)
    exact = objectives.sliced_score_matching(jax.random.key(1), score, x)
    errors = [
        jnp.abs(objectives.finite_difference_score_matching(jax.random.key(1), score, x, step=step) - exact).mean()
        for step in (0.2, 0.1)
    ]
    assert abs(np.log2(errors[0] / errors[1]) - 2) < 0.25


@pytest.mark.parametrize("form", objectives.MATCHINGS)
def test_over_noise_levels_every_form_gives_the_denoising_gradient(form):
    sde, theta = sgm.VP(t_min=1e-2), jnp.array([0.6, 0.2])
    x0 = draw(jax.random.key(4), 100_000)
    exact = MIXTURE.score_fn(sde)

    def gradient(loss):
        score = lambda theta: lambda t, x: theta[0] * exact(t, x) + theta[1] * x
        return jax.jit(jax.grad(lambda theta: loss(score(theta)).mean()))(theta)

    denoising = gradient(lambda score: sgm.denoising_score_matching(jax.random.key(5), sde, score, x0))
    matched = gradient(
        lambda score: objectives.over_noise_levels(
            jax.random.key(5), sde, score, x0, objectives.MATCHINGS[form], weighting="noise"
        )
    )
    np.testing.assert_allclose(matched, denoising, atol=0.02)


def test_bad_numbers_are_refused():
    x, score = jnp.ones((2, 2)), lambda x: -x
    with pytest.raises(ValueError, match="slices must be at least 1, got 0"):
        objectives.sliced_score_matching(jax.random.key(0), score, x, slices=0)
    with pytest.raises(ValueError, match="step must be > 0, got -1.0"):
        objectives.finite_difference_score_matching(jax.random.key(0), score, x, step=-1.0)
    with pytest.raises(ValueError, match="sigma must be > 0, got 0.0"):
        objectives.denoising_at_level(jax.random.key(0), score, x, 0.0)
