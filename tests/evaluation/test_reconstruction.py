import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.metrics

from sgm_jax import evaluation, inverse

GENERATOR = np.random.default_rng(0)
TRUTH = GENERATOR.random((32, 24, 3)).astype(np.float32).cumsum(0) / 16
IMAGE = TRUTH + 0.1 * GENERATOR.standard_normal(TRUTH.shape).astype(np.float32)


def test_psnr_equals_scikit_image():
    ours = evaluation.psnr(jnp.asarray(TRUTH), jnp.asarray(IMAGE), data_range=2.0)
    np.testing.assert_allclose(ours, skimage.metrics.peak_signal_noise_ratio(TRUTH, IMAGE, data_range=2.0), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "theirs"),
    [
        ({}, {"gaussian_weights": True, "use_sample_covariance": False}),
        pytest.param({"weights": evaluation.uniform_weights(), "ddof": 1}, {}, marks=pytest.mark.slow),
        pytest.param(
            {"weights": evaluation.gaussian_weights(1.0), "ddof": 1},
            {"gaussian_weights": True, "sigma": 1.0},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_ssim_equals_scikit_image(options, theirs):
    ours = evaluation.ssim(jnp.asarray(TRUTH), jnp.asarray(IMAGE), data_range=2.0, **options)
    expected = skimage.metrics.structural_similarity(
        TRUTH.astype(float), IMAGE.astype(float), data_range=2.0, channel_axis=-1, **theirs
    )
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_ssim_needs_room_for_its_window():
    with pytest.raises(ValueError, match="got 11"):
        evaluation.ssim(jnp.ones((8, 8, 1)), jnp.ones((8, 8, 1)), data_range=1.0)


@pytest.mark.slow
def test_residual_of_the_truth_is_the_noise():
    operator = inverse.Mask(jnp.ones((32, 32, 1)).at[:16].set(0), (32, 32, 1), noise_std=0.2)
    x = jnp.ones((32, 32, 1))
    y = operator.measure(jax.random.key(0), x).at[:16].set(jnp.nan)
    expected = 0.2 * 512**0.5 / np.linalg.norm(y[16:])
    np.testing.assert_allclose(evaluation.relative_residual(operator, x, y), expected, rtol=0.1)


def test_calibrated_samples_cover_what_they_say():
    levels = jnp.array([0.2, 0.5, 0.9])
    draws = np.random.default_rng(1).standard_normal((100, 100, 100)).astype(np.float32)
    truth, samples = jnp.asarray(draws[0]), jnp.asarray(draws[1:])
    np.testing.assert_allclose(evaluation.coverage(truth, samples, levels), levels, atol=0.02)
    # Half the spread is over-confident: a normal number lies within 1.645 / 2 deviations with probability 0.589.
    np.testing.assert_allclose(evaluation.coverage(truth, samples / 2, levels)[2], 0.589, atol=0.02)


@pytest.mark.parametrize("pixels, width", [(1, 1), (2, 1), (7, 7), (8, 7), (11, 11), (28, 11)])
def test_the_window_fits_into_small_images(pixels, width):
    weights = evaluation.narrow_weights(pixels)
    assert len(weights) == width and np.isclose(weights.sum(), 1)
    if width == 11:
        np.testing.assert_array_equal(weights, evaluation.gaussian_weights())
