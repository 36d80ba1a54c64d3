"""Computed tomography by parallel beams: the Radon transform and filtered back-projection.

The geometry is scikit-image's: an image turns about the pixel `n // 2` of each axis, beams run along its columns,
pixels have length 1 and are interpolated linearly.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgm_jax.inverse.operator import AbstractLinear, Shape

Window = Callable[[Array], Array]


class Radon(AbstractLinear):
    """Sums of an image along parallel beams: [n, n, c] to [angles, detectors, c].

    Args:
        shape: shape of one example, [n, n, c].
        angles: directions in degrees [a] (few, or from a limited range), or how many, equally spaced over [0, 180).
        detectors: number of beams a direction. With `n`, the default, they cover the inscribed circle; with
            `ceil(sqrt(2) n)` all of the image.
        noise_std: deviation of the noise of a sum.
    """

    angles: Float[Array, " a"]
    shape: Shape = eqx.field(static=True)
    detectors: int = eqx.field(static=True)
    noise_std: Array | float

    def __init__(
        self,
        shape: Shape,
        angles: Array | np.ndarray | int,
        detectors: int | None = None,
        noise_std: Array | float = 0.0,
    ):
        if len(shape) != 3 or shape[0] != shape[1]:
            raise ValueError(f"shape must be that of a square image [n, n, c], got {shape}")
        few = isinstance(angles, int)
        if few and angles < 1:
            raise ValueError(f"angles must be at least 1, got {angles}")
        self.angles = jnp.arange(angles) * (180 / angles) if few else jnp.asarray(angles, float)
        if self.angles.ndim != 1:
            raise ValueError(f"angles must be an array [a] or their number, got shape {self.angles.shape}")
        self.shape, self.noise_std = shape, noise_std
        self.detectors = shape[0] if detectors is None else detectors

    def forward(self, x: Array) -> Array:
        size = self.shape[0]
        across = jnp.arange(self.detectors) - self.detectors // 2
        along, ones = across[:, None], jnp.ones(self.detectors)

        def project(angle):
            cos, sin = _direction(angle)
            row = along * cos - across * sin + size // 2
            column = along * sin + across * cos + size // 2
            # A product with ones: XLA's CPU backend is slow where a sum is fused with what it sums.
            return jnp.einsum("s,sdc->dc", ones, _bilinear(x, row, column), precision=jax.lax.Precision.HIGHEST)

        return jax.lax.map(project, self.angles)

    def adjoint(self, y: Array) -> Array:
        # The transposed matrix, pixel by pixel: every pixel gathers from those points of the turned grid that
        # interpolate it, four each way. Transposing the code would scatter instead, ten times as slow.
        size, half = self.shape[0], self.detectors // 2
        column = jnp.arange(size) - size // 2
        row = column[:, None]
        hat = lambda distance: jnp.maximum(0, 1 - jnp.abs(distance))

        def back_project(image, beam):
            angle, projection = beam
            cos, sin = _direction(angle)
            first, first_along = jnp.floor(column * cos - row * sin) - 1, jnp.floor(column * sin + row * cos) - 1
            for across in (first + i for i in range(4)):
                weight = jnp.zeros((size, size), y.dtype)
                for along in (first_along + j for j in range(4)):
                    near = hat(along * cos - across * sin - row) * hat(along * sin + across * cos - column)
                    weight += jnp.where((along >= -half) & (along < self.detectors - half), near, 0)
                index = across.astype(int) + half
                inside = (index >= 0) & (index < self.detectors)
                image += jnp.where(inside, weight, 0)[..., None] * projection.at[index].get(mode="clip")
            return image, None

        return jax.lax.scan(back_project, jnp.zeros(self.shape, y.dtype), (self.angles, y))[0]


def ramp(frequency: Array) -> Array:
    """Leave the ramp filter as it is."""
    return jnp.ones_like(frequency)


def shepp_logan(frequency: Array) -> Array:
    """Fall to 0.64 at the highest frequency."""
    return jnp.sinc(frequency)


def cosine(frequency: Array) -> Array:
    """Fall to 0 at the highest frequency."""
    return jnp.cos(jnp.pi * frequency)


def hamming(frequency: Array) -> Array:
    """Fall to 0.08 at the highest frequency, flat there."""
    return 0.54 + 0.46 * jnp.cos(2 * jnp.pi * frequency)


def hann(frequency: Array) -> Array:
    """Fall to 0 at the highest frequency, flat there."""
    return 0.5 + 0.5 * jnp.cos(2 * jnp.pi * frequency)


WINDOWS = {function.__name__: function for function in (cosine, hamming, hann, ramp, shepp_logan)}


def filtered_back_projection(
    operator: Radon, y: Float[Array, "a d c"], *, window: Window = ramp
) -> Float[Array, "n n c"]:
    """Reconstruct an image from its projections, taken as equally spaced over half a turn.

    Args:
        operator: what measured `y`.
        y: one measurement.
        window: factor on the ramp filter as a function of the frequency, in cycles a detector from -1/2 to 1/2; one of
            `WINDOWS`.

    Returns:
        The image, 0 outside the circle that the detectors cover.

    References:
        Kak, Slaney, Principles of Computerized Tomographic Imaging, 1988, section 3.3.
    """
    size, detectors = operator.shape[0], operator.detectors
    filtered = _filter(y, window)
    offset = jnp.arange(size) - size // 2

    def back_project(image, beam):
        angle, projection = beam
        cos, sin = _direction(angle)
        position = offset * cos - offset[:, None] * sin + detectors // 2
        # A row of the filtered sinogram, as an image of height 1.
        return image + _bilinear(projection[None], jnp.zeros_like(position), position), None

    image, _ = jax.lax.scan(back_project, jnp.zeros(operator.shape, y.dtype), (operator.angles, filtered))
    covered = offset**2 + offset[:, None] ** 2 <= (detectors // 2) ** 2
    return jnp.where(covered[..., None], image * jnp.pi / (2 * len(operator.angles)), 0)


def _filter(y: Array, window: Window) -> Array:
    """Apply the ramp filter, as sampled in space (Kak, Slaney, equation 61), along the detectors' axis."""
    length = max(64, 2 ** int(np.ceil(np.log2(2 * y.shape[1]))))
    position = np.abs(np.fft.fftfreq(length, 1 / length))
    odd = position % 2 == 1
    ramp_in_space = np.where(odd, -1 / (np.pi * np.where(odd, position, 1)) ** 2, 0)
    ramp_in_space[0] = 0.25
    response = 2 * np.fft.rfft(ramp_in_space).real
    gain = jnp.asarray(response, y.dtype) * window(jnp.asarray(np.fft.rfftfreq(length), y.dtype))
    spectrum = jnp.fft.rfft(y, length, axis=1) * gain[:, None]
    return jnp.fft.irfft(spectrum, length, axis=1)[:, : y.shape[1]]


def _direction(angle: Array) -> tuple[Array, Array]:
    return jnp.cos(jnp.deg2rad(angle)), jnp.sin(jnp.deg2rad(angle))


def _bilinear(image: Float[Array, "h w c"], row: Array, column: Array) -> Array:
    """Interpolate linearly between pixels; beyond the image everything is 0."""
    (height, width, _), (top, left) = image.shape, (jnp.floor(row), jnp.floor(column))
    total = jnp.zeros((*row.shape, image.shape[-1]), image.dtype)
    for i in (top, top + 1):
        for j in (left, left + 1):
            weight = (1 - jnp.abs(row - i)) * (1 - jnp.abs(column - j))
            inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
            # Indices beyond the image are clipped by the gather, and weigh nothing.
            pixel = image.at[i.astype(int), j.astype(int)].get(mode="clip")
            total += jnp.where(inside, weight, 0)[..., None] * pixel
    return total
