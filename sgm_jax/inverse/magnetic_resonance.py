"""Magnetic resonance: some frequencies of an image, seen by one coil or many.

A complex image is [h, w, 2], real and imaginary part; a real one is [h, w, 1]. Measured frequencies are real and
imaginary parts as well, [..., h, w, 2], frequency 0 in the middle, 0 where not sampled; the transform is unitary.
`noise_std` is that of each part.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from sgm_jax.inverse.fourier import (
    AXES,
    centred_fft,
    centred_ifft,
    from_spectrum,
    hartley,
    mirror,
    to_channels,
    to_complex,
    to_spectrum,
)
from sgm_jax.inverse.operator import AbstractLinear, AbstractSpectral, Shape
from sgm_jax.shapes import PRNGKey


class FourierMask(AbstractSpectral):
    """Sampled frequencies of a complex image (one coil): [h, w, 2] to [h, w, 2].

    Args:
        mask: 1 where sampled, [h, w, 1], frequency 0 in the middle.
        shape: shape of one example, [h, w, 2].
        noise_std: deviation of the noise in each part of the sampled frequencies.
    """

    mask: Float[Array, "h w 1"]
    shape: Shape = eqx.field(static=True)
    noise_std: Array | float = 0.0

    def __check_init__(self):
        _check_image(self.mask, self.shape, (2,))

    @property
    def gains(self) -> Array:
        return jnp.broadcast_to(self.mask > 0, self.shape).astype(jnp.result_type(float))

    def analyse(self, x: Array) -> Array:
        return to_channels(centred_fft(to_complex(x)))

    def synthesise(self, coefficients: Array) -> Array:
        return to_channels(centred_ifft(to_complex(coefficients)))

    def place(self, y: Array) -> Array:
        return self.record(y)

    def read(self, coefficients: Array) -> Array:
        return self.record(coefficients)

    def record(self, y: Array) -> Array:
        return jnp.where(self.mask > 0, y, 0)


class RealFourierMask(AbstractSpectral):
    """Sampled frequencies of a real image (one coil): [h, w, 1] to [h, w, 2].

    A real image's spectrum is Hermitian, so that a frequency whose negative is sampled as well is measured twice: its
    gain is 1, and that of one measured once `1 / sqrt(2)`, in the basis of Hartley's transform.

    Args:
        mask: 1 where sampled, [h, w, 1], frequency 0 in the middle.
        shape: shape of one example, [h, w, 1].
        noise_std: deviation of the noise in each part of the sampled frequencies.
    """

    mask: Float[Array, "h w 1"]
    shape: Shape = eqx.field(static=True)
    noise_std: Array | float = 0.0

    def __check_init__(self):
        _check_image(self.mask, self.shape, (1,))

    @property
    def gains(self) -> Array:
        sampled = jnp.fft.ifftshift(self.mask > 0, AXES).astype(jnp.result_type(float))
        return jnp.sqrt((sampled + mirror(sampled)) / 2)

    def analyse(self, x: Array) -> Array:
        return hartley(jnp.fft.ifftshift(x, AXES))

    def synthesise(self, coefficients: Array) -> Array:
        return jnp.fft.fftshift(hartley(coefficients), AXES)

    def place(self, y: Array) -> Array:
        spectrum = jnp.fft.ifftshift(to_complex(self.record(y))[..., None], AXES)
        gains = self.gains
        return from_spectrum(spectrum) / jnp.where(gains > 0, gains, 1)

    def read(self, coefficients: Array) -> Array:
        gains = self.gains
        spectrum = to_spectrum(coefficients / jnp.where(gains > 0, gains, 1))
        return self.record(to_channels(jnp.fft.fftshift(spectrum[..., 0], AXES)))

    def record(self, y: Array) -> Array:
        return jnp.where(self.mask > 0, y, 0)


class MultiCoil(AbstractLinear):
    """Sampled frequencies of an image as seen by several coils: [h, w, 2] or [h, w, 1] to [coils, h, w, 2].

    Args:
        mask: 1 where sampled, [h, w, 1], frequency 0 in the middle.
        sensitivities: complex gain of each coil at each pixel, [coils, h, w].
        shape: shape of one example.
        noise_std: deviation of the noise in each part of the sampled frequencies.

    References:
        Pruessmann et al., SENSE: Sensitivity Encoding for Fast MRI, 1999.
    """

    mask: Float[Array, "h w 1"]
    sensitivities: Complex[Array, "coils h w"]
    shape: Shape = eqx.field(static=True)
    noise_std: Array | float = 0.0

    def __check_init__(self):
        _check_image(self.mask, self.shape, (1, 2))
        if self.sensitivities.shape[1:] != self.shape[:2]:
            raise ValueError(f"sensitivities must be [coils, *{self.shape[:2]}], got {self.sensitivities.shape}")

    def forward(self, x: Array) -> Array:
        return self.record(to_channels(centred_fft(self.sensitivities * to_complex(x))))

    def record(self, y: Array) -> Array:
        return jnp.where(self.mask > 0, y, 0)


def coil_sensitivities(coils: int, shape: Shape) -> Complex[Array, "coils h w"]:
    """Simulate coils on a circle around the image [h, w, ...], each fading with distance; their squares sum to 1.

    The magnitude is `1 / (1 + d^2)` and the phase the direction, with `d` the distance in half-widths of the image.
    """
    angle = 2 * np.pi * np.arange(coils) / coils
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape[:2]), indexing="ij")
    offset = (x + 1j * y) - 1.2 * np.exp(1j * angle)[:, None, None]
    maps = np.exp(1j * np.angle(offset)) / (1 + np.abs(offset) ** 2)
    return jnp.asarray(maps / np.sqrt(np.sum(np.abs(maps) ** 2, 0)), complex)


def equispaced_lines(
    key: PRNGKey, shape: Shape, acceleration: float = 4.0, centre: float = 0.08
) -> Float[Array, "h w 1"]:
    """Sample whole columns: the middle ones and, from a random offset on, others equally spaced.

    Args:
        key: determines the offset.
        shape: shape of one example, [h, w, c].
        acceleration: columns of the image for each one sampled.
        centre: share of the columns that are sampled in the middle.
    """
    width, middle = shape[1], _middle(shape, acceleration, centre)
    # Their spacing in what is left over is such that `w / acceleration` are sampled in all.
    spacing = (width - middle) / max(width / acceleration - middle, 1e-9)
    start = spacing * jax.random.uniform(key)
    column = jnp.floor(start + spacing * jnp.arange(np.ceil(width / spacing))).astype(int)
    return _columns(shape, _central(width, middle).at[column].set(True, mode="drop"))


def random_lines(key: PRNGKey, shape: Shape, acceleration: float = 4.0, centre: float = 0.08) -> Float[Array, "h w 1"]:
    """Sample whole columns: the middle ones and others at random, `w / acceleration` in all. Arguments as
    `equispaced_lines`."""
    width, middle = shape[1], _middle(shape, acceleration, centre)
    central = _central(width, middle)
    rank = jnp.argsort(jnp.argsort(jnp.where(central, -1.0, jax.random.uniform(key, (width,)))))
    return _columns(shape, rank < round(width / acceleration))


def radial_lines(key: PRNGKey, shape: Shape, spokes: int = 30) -> Float[Array, "h w 1"]:
    """Sample those frequencies of the grid that lie nearest to spokes through the middle, turned at random."""
    angle = jnp.pi * (jnp.arange(spokes) + jax.random.uniform(key)) / spokes
    y, x = jnp.meshgrid(*(jnp.arange(n) - n // 2 for n in shape[:2]), indexing="ij")
    run, rise = jnp.cos(angle)[:, None, None], jnp.sin(angle)[:, None, None]
    # One frequency a column for flat spokes, one a row for steep ones.
    near = jnp.abs(x * rise - y * run) <= 0.5 * jnp.maximum(jnp.abs(run), jnp.abs(rise))
    return jnp.any(near, 0)[..., None].astype(jnp.result_type(float))


FREQUENCY_MASKS = {"equispaced": equispaced_lines, "radial": radial_lines, "random": random_lines}


def _middle(shape: Shape, acceleration: float, centre: float) -> int:
    middle = round(shape[1] * centre)
    if not 1 <= acceleration <= shape[1] / max(middle, 1):
        raise ValueError(
            f"acceleration must lie between 1 and {shape[1] / max(middle, 1):g} for {middle} columns in the middle, "
            f"got {acceleration}"
        )
    return middle


def _central(width: int, count: int) -> Array:
    first = (width - count + 1) // 2
    column = jnp.arange(width)
    return (column >= first) & (column < first + count)


def _columns(shape: Shape, sampled: Array) -> Float[Array, "h w 1"]:
    return jnp.broadcast_to(sampled[None, :, None], (*shape[:2], 1)).astype(jnp.result_type(float))


def _check_image(mask: Array, shape: Shape, channels: tuple[int, ...]) -> None:
    if len(shape) != 3 or shape[2] not in channels:
        allowed = " or ".join(f"[h, w, {n}]" for n in channels)
        raise ValueError(f"shape must be that of an image {allowed}, got {shape}")
    if mask.shape != (*shape[:2], 1):
        raise ValueError(f"mask must be {(*shape[:2], 1)}, got {mask.shape}")
