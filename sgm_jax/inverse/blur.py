"""Blurs by a kernel, with a circular or a zero boundary."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from sgm_jax.inverse.fourier import AXES, from_spectrum, hartley, to_spectrum
from sgm_jax.inverse.operator import AbstractLinear, AbstractSpectral, Shape
from sgm_jax.inverse.pixel import NEGLIGIBLE

Kernel = Float[Array | np.ndarray, "k l"]


class CircularBlur(AbstractSpectral):
    """Convolution of every channel with a kernel, the image repeated beyond its borders.

    Singular values below 1e-6 of the largest count as 0.

    Args:
        kernel: [k, l], its centre at `(k // 2, l // 2)`; no larger than the image.
        shape: shape of one example, [h, w, c].
        noise_std: deviation of the noise.
    """

    modulus: Float[Array, "h w 1"]
    phase: Complex[Array, "h w 1"]
    shape: Shape = eqx.field(static=True)
    noise_std: Array | float

    def __init__(self, kernel: Kernel, shape: Shape, noise_std: Array | float = 0.0):
        kernel = _checked(kernel, shape)
        (height, width), (k, l) = shape[:2], kernel.shape
        padded = np.pad(kernel, ((0, height - k), (0, width - l)))
        spectrum = np.fft.fft2(np.roll(padded, (-(k // 2), -(l // 2)), (0, 1)))[..., None]
        modulus = np.abs(spectrum)
        modulus = np.where(modulus > NEGLIGIBLE * modulus.max(), modulus, 0)
        self.modulus = jnp.asarray(modulus, float)
        self.phase = jnp.asarray(np.where(modulus > 0, spectrum / np.where(modulus > 0, modulus, 1), 1), complex)
        self.shape, self.noise_std = shape, noise_std

    @property
    def gains(self) -> Array:
        return jnp.broadcast_to(self.modulus, self.shape)

    def analyse(self, x: Array) -> Array:
        return hartley(x)

    def synthesise(self, coefficients: Array) -> Array:
        return hartley(coefficients)

    def place(self, y: Array) -> Array:
        return from_spectrum(jnp.conj(self.phase) * jnp.fft.fft2(y, axes=AXES, norm="ortho"))

    def read(self, coefficients: Array) -> Array:
        return jnp.fft.ifft2(self.phase * to_spectrum(coefficients), axes=AXES, norm="ortho").real


class Blur(AbstractLinear):
    """Convolution of every channel with a kernel, the image 0 beyond its borders; of the example's size.

    Args:
        kernel: [k, l], its centre at `(k // 2, l // 2)`.
        shape: shape of one example, [h, w, c].
        noise_std: deviation of the noise.
    """

    kernel: Float[Array, "k l"]
    shape: Shape = eqx.field(static=True)
    noise_std: Array | float

    def __init__(self, kernel: Kernel, shape: Shape, noise_std: Array | float = 0.0):
        self.kernel = jnp.asarray(_checked(kernel, shape), float)
        self.shape, self.noise_std = shape, noise_std

    def forward(self, x: Array) -> Array:
        k, l = self.kernel.shape
        # A convolution of machine learning is a correlation: the kernel is turned round, and with it its centre.
        padding = [((n - 1) // 2, n // 2) for n in (k, l)]
        channels = jnp.moveaxis(x, -1, 0)[:, None]
        blurred = jax.lax.conv_general_dilated(
            channels, jnp.flip(self.kernel)[None, None], (1, 1), padding, precision=jax.lax.Precision.HIGHEST
        )
        return jnp.moveaxis(blurred[:, 0], 0, -1)


def gaussian_kernel(size: int, std: float) -> Float[np.ndarray, "k k"]:
    """Return a Gaussian of deviation `std` pixels, cut to `size` pixels and of sum 1."""
    distance = np.arange(size) - size // 2
    line = np.exp(-0.5 * (distance / std) ** 2)
    return np.outer(line, line) / line.sum() ** 2


def uniform_kernel(size: int) -> Float[np.ndarray, "k k"]:
    """Return a square of equal weights and sum 1."""
    return np.full((size, size), 1 / size**2)


def motion_kernel(length: float, angle: float) -> Float[np.ndarray, "k k"]:
    """Return the trace of a straight motion, of sum 1.

    Args:
        length: distance moved, in pixels.
        angle: direction in degrees, counter-clockwise from the right.
    """
    reach = int(np.ceil(length / 2))
    position = np.linspace(-length / 2, length / 2, 16 * reach + 1)
    row, column = -position * np.sin(np.radians(angle)), position * np.cos(np.radians(angle))
    offsets = np.arange(-reach, reach + 1)
    # Each point of the path is shared bilinearly among the four pixels around it.
    hat = lambda at: np.maximum(0, 1 - np.abs(at[:, None] - offsets))
    kernel = hat(row).T @ hat(column)
    return kernel / kernel.sum()


def _checked(kernel: Kernel, shape: Shape) -> Float[np.ndarray, "k l"]:
    kernel = np.asarray(kernel, np.float64)
    if kernel.shape[0] > shape[0] or kernel.shape[1] > shape[1]:
        raise ValueError(f"kernel must be no larger than the image {shape[:2]}, got {kernel.shape}")
    if not np.all(np.isfinite(kernel)):
        raise ValueError("kernel must be finite, got NaN or infinity")
    return kernel
