"""The real Fourier (Hartley) transform of images, its own inverse, and complex images as two channels."""

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

AXES = (0, 1)


def mirror(spectrum: Array) -> Array:
    """Return the spectrum [h, w, ...] at the negated frequencies."""
    return jnp.roll(jnp.flip(spectrum, AXES), 1, AXES)


def from_spectrum(spectrum: Complex[Array, "h w ..."]) -> Float[Array, "h w ..."]:
    """Return the Hartley coefficients of the real image nearest to one with this spectrum."""
    coefficients = spectrum.real - spectrum.imag
    # The Hermitian part of the spectrum, in the real basis.
    return (coefficients + mirror(spectrum.real + spectrum.imag)) / 2


def to_spectrum(coefficients: Float[Array, "h w ..."]) -> Complex[Array, "h w ..."]:
    """Return the spectrum of the real image that has these Hartley coefficients."""
    mirrored = mirror(coefficients)
    return ((coefficients + mirrored) + 1j * (mirrored - coefficients)) / 2


def hartley(x: Float[Array, "h w ..."]) -> Float[Array, "h w ..."]:
    """Transform images by sums of cosine and sine, orthonormally; twice is the identity.

    References:
        Bracewell, Discrete Hartley Transform, 1983.
    """
    spectrum = jnp.fft.fft2(x, axes=AXES, norm="ortho")
    return spectrum.real - spectrum.imag


def centred_fft(x: Complex[Array, "*n h w"]) -> Complex[Array, "*n h w"]:
    """Transform the last two axes unitarily, position and frequency 0 in the middle."""
    axes = (-2, -1)
    return jnp.fft.fftshift(jnp.fft.fft2(jnp.fft.ifftshift(x, axes), norm="ortho"), axes)


def centred_ifft(y: Complex[Array, "*n h w"]) -> Complex[Array, "*n h w"]:
    """Invert `centred_fft`."""
    axes = (-2, -1)
    return jnp.fft.fftshift(jnp.fft.ifft2(jnp.fft.ifftshift(y, axes), norm="ortho"), axes)


def to_complex(x: Float[Array, "*n c"]) -> Complex[Array, "*n"]:
    """Return the complex numbers whose real and, with two channels, imaginary parts the channels are."""
    return x[..., 0] + 1j * (x[..., 1] if x.shape[-1] == 2 else 0)


def to_channels(z: Complex[Array, "*n"]) -> Float[Array, "*n 2"]:
    """Return real and imaginary parts as channels."""
    return jnp.stack([z.real, z.imag], -1)
