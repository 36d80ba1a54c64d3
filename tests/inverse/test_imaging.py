"""Operators of imaging against independent implementations: scikit-image, Pillow, SciPy, numpy."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import skimage.transform
from PIL import Image

from sgm_jax import data, evaluation, inverse
from sgm_jax.inverse import nonlinear

KEY = jax.random.key(0)
GENERATOR = np.random.default_rng(0)


@pytest.fixture(scope="module")
def phantom():
    return jnp.asarray(data.load("phantoms", count=10).test.x[0], jnp.float32) / 255


def difference(ours, theirs):
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


ANGLES = np.arange(23) * 180 / 23


def test_radon_equals_scikit_image(phantom):
    ours = inverse.Radon((64, 64, 1), 23).forward(phantom)
    theirs = skimage.transform.radon(np.array(phantom[..., 0]), ANGLES)
    assert difference(ours[..., 0].T, theirs) < 1e-5


@pytest.mark.parametrize(
    "window", ["ramp", *(pytest.param(name, marks=pytest.mark.slow) for name in sorted({*inverse.WINDOWS} - {"ramp"}))]
)
def test_filtered_back_projection_follows_scikit_image(phantom, window):
    sinogram = skimage.transform.radon(np.array(phantom[..., 0]), ANGLES).astype(np.float32)
    operator = inverse.Radon((64, 64, 1), ANGLES)
    y = jnp.asarray(sinogram.T[..., None])
    ours = inverse.filtered_back_projection(operator, y, window=inverse.WINDOWS[window])
    theirs = skimage.transform.iradon(sinogram, ANGLES, filter_name=window.replace("_", "-"))
    assert difference(ours[..., 0], theirs) < 0.01


@pytest.mark.slow
def test_wide_detectors_see_the_corners():
    image = GENERATOR.random((20, 20))
    theirs = skimage.transform.radon(image, [10.0, 75.0], circle=False)
    operator = inverse.Radon((20, 20, 1), np.array([10.0, 75.0]), detectors=len(theirs))
    assert difference(operator.forward(jnp.asarray(image[..., None]))[..., 0].T, theirs) < 1e-5


@pytest.mark.slow
def test_total_variation_beats_back_projection_from_few_angles(phantom):
    operator = inverse.Radon((64, 64, 1), 15, noise_std=0.1)
    y = operator.measure(KEY, phantom)
    judge = lambda image: evaluation.psnr(phantom, image, data_range=1.0)
    analytic = judge(inverse.filtered_back_projection(operator, y, window=inverse.WINDOWS["hann"]))
    assert judge(inverse.total_variation(operator, y, 0.1, steps=100)) > analytic + 5


@pytest.mark.slow
def test_total_variation_solves_its_problem():
    # Two pixels, one step between them: both move towards each other by the weight.
    operator = inverse.Mask(jnp.ones((1, 2, 1)), (1, 2, 1))
    found = inverse.total_variation(operator, jnp.array([[[0.0], [2.0]]]), 0.3, steps=200)
    np.testing.assert_allclose(found.ravel(), [0.3, 1.7], atol=1e-4)


@pytest.mark.slow
def test_operator_norm_is_the_largest_singular_value():
    operator = inverse.gaussian_sensing(KEY, (6,), 4)
    np.testing.assert_allclose(inverse.operator_norm(operator), np.linalg.norm(operator.matrix, 2), rtol=1e-3)


@pytest.mark.parametrize("channels", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_coils_see_numpys_frequencies(channels):
    shape = (6, 8, channels)
    x = GENERATOR.standard_normal(shape).astype(np.float32)
    mask = inverse.FREQUENCY_MASKS["random"](KEY, shape, acceleration=2.0, centre=0.25)
    maps = inverse.coil_sensitivities(2, shape)
    np.testing.assert_allclose(np.sum(np.abs(maps) ** 2, 0), 1, atol=1e-5)
    image = x[..., 0] + (1j * x[..., 1] if channels == 2 else 0)
    transform = lambda z: np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(z), norm="ortho")) * mask[..., 0]
    expected = np.stack([transform(np.asarray(coil) * image) for coil in maps])
    many = inverse.MultiCoil(mask, maps, shape).forward(jnp.asarray(x))
    np.testing.assert_allclose(many, np.stack([expected.real, expected.imag], -1), atol=1e-5)
    one = (inverse.FourierMask if channels == 2 else inverse.RealFourierMask)(mask, shape).forward(jnp.asarray(x))
    expected = transform(image)
    np.testing.assert_allclose(one, np.stack([expected.real, expected.imag], -1), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["equispaced", "random"])
def test_lines_are_as_many_as_the_acceleration_says(name):
    shape = (4, 240, 1)
    mask = inverse.FREQUENCY_MASKS[name](KEY, shape, acceleration=8.0, centre=0.05)
    assert mask.shape == shape and set(np.unique(mask)) == {0, 1}
    assert abs(int(mask[0].sum()) - 30) <= (1 if name == "equispaced" else 0)
    # Zero frequency is in the middle of twelve.
    np.testing.assert_array_equal(mask[:, 114:126], 1)
    np.testing.assert_array_equal(mask, np.broadcast_to(mask[:1], shape))
    with pytest.raises(ValueError, match="acceleration must lie between 1 and 20"):
        inverse.FREQUENCY_MASKS[name](KEY, shape, acceleration=30.0, centre=0.05)


@pytest.mark.slow
def test_spokes_cross_in_the_middle():
    mask = np.asarray(inverse.FREQUENCY_MASKS["radial"](KEY, (16, 16, 1), spokes=3))[..., 0]
    assert mask[8, 8] == 1 and 3 * 15 - 6 <= mask.sum() <= 3 * 17
    np.testing.assert_array_equal(mask[1:, 1:], mask[1:, 1:][::-1, ::-1])


@pytest.mark.slow
def test_bicubic_equals_pillow():
    image = GENERATOR.random((24, 16)).astype(np.float32)
    theirs = np.asarray(Image.fromarray(image).resize((4, 6), Image.Resampling.BICUBIC))
    ours = inverse.bicubic((24, 16, 1), 4).forward(jnp.asarray(image[..., None]))
    np.testing.assert_allclose(ours[..., 0], theirs, atol=1e-5)


@pytest.mark.parametrize("kernel", [inverse.motion_kernel(5.0, 30.0), GENERATOR.random((4, 3))])
def test_blurs_equal_scipy(kernel):
    image = GENERATOR.random((12, 9)).astype(np.float32)
    for operator, mode in ((inverse.Blur, "constant"), (inverse.CircularBlur, "wrap")):
        theirs = scipy.ndimage.convolve(image, kernel, mode=mode)
        ours = operator(kernel, (12, 9, 1)).forward(jnp.asarray(image[..., None]))
        np.testing.assert_allclose(ours[..., 0], theirs, atol=1e-5)


def test_kernels_have_unit_sum_and_direction():
    kernels = inverse.gaussian_kernel(9, 1.5), inverse.uniform_kernel(3), inverse.motion_kernel(7.0, 90.0)
    np.testing.assert_allclose([kernel.sum() for kernel in kernels], 1)
    assert kernels[2][:, [0, -1]].sum() < 1e-9 and np.all(kernels[2][1:-1, 4] > 0)


@pytest.mark.parametrize(("channels", "quality"), [(3, 30), pytest.param(1, 75, marks=pytest.mark.slow)])
def test_jpeg_equals_pillow(channels, quality):
    smooth = scipy.ndimage.gaussian_filter(GENERATOR.random((24, 32, channels)), (2, 2, 0))
    pixels = np.rint(255 * (0.5 + 2 * (smooth - smooth.mean()))).clip(20, 235).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, "JPEG", quality=quality, subsampling=0)
    theirs = Image.open(file)
    for channel, table in theirs.quantization.items():
        np.testing.assert_array_equal(nonlinear.quantisation(quality, channels)[..., channel].ravel(), table)
    theirs = np.asarray(theirs).reshape(pixels.shape)
    operator = inverse.JPEG(pixels.shape, quality, low=0.0, high=255.0)
    ours = operator.forward(jnp.asarray(pixels, jnp.float32))
    # Pillow computes with integers; a coefficient in the middle between two steps may go either way.
    error = np.abs(ours - theirs.astype(float))
    assert error.mean() < 0.6 and np.quantile(error, 0.9) <= 1.6
    gradient = jax.grad(lambda x: operator.forward(x).sum())(jnp.zeros(pixels.shape))
    np.testing.assert_allclose(gradient, 1, atol=1e-4)


@pytest.mark.slow
def test_phase_retrieval_cannot_tell_turned_images_apart():
    operator = inverse.PhaseRetrieval((5, 4, 1))
    x = jax.random.normal(KEY, (5, 4, 1))
    y = operator.forward(x)
    padded = np.zeros((10, 8))
    padded[:5, :4] = x[..., 0]
    np.testing.assert_allclose(y[..., 0], np.abs(np.fft.fft2(padded, norm="ortho")), atol=1e-5)
    np.testing.assert_allclose(operator.forward(x[::-1, ::-1]), y, atol=1e-5)
    gradient = jax.grad(lambda x: jnp.sum(operator.forward(x)))(jnp.zeros((5, 4, 1)))
    assert np.all(np.isfinite(gradient))


def test_exposure_is_clipped():
    operator = inverse.HighDynamicRange((3,))
    batch = jnp.array([[-0.2, 0.3, 0.9]])
    np.testing.assert_allclose(jax.jit(jax.vmap(operator.forward))(batch), [[-0.4, 0.6, 1.0]], rtol=1e-6)
    np.testing.assert_allclose(inverse.NonLinear(jnp.tanh, (3,)).forward(batch[0]), np.tanh(batch[0]), rtol=1e-6)
    with pytest.raises(ValueError, match="multiples of 8"):
        inverse.JPEG((12, 8, 1), 50)
    with pytest.raises(ValueError, match="quality must lie between 1 and 100, got 0"):
        inverse.JPEG((8, 8, 1), 0)
    with pytest.raises(ValueError, match="oversampling must be at least 1"):
        inverse.PhaseRetrieval((8, 8, 1), 0.5)


@pytest.mark.slow
def test_strokes_hide_some_pixels_but_not_most():
    mask = inverse.MASKS["free_form"](KEY, (64, 64, 3))
    assert mask.shape == (64, 64, 1) and 0.4 < mask.mean() < 0.95 and set(np.unique(mask)) == {0, 1}
