"""Measurements that are not linear: intensities of a Fourier transform, clipped exposure, and JPEG compression."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgm_jax.inverse.operator import AbstractOperator, Shape


class PhaseRetrieval(AbstractOperator):
    """Magnitudes of the Fourier transform of every channel, the image amid zeros: [h, w, c] to [p, q, c].

    The transform is unitary. Where a magnitude is 0 its gradient is taken as 0.

    Args:
        shape: shape of one example, [h, w, c].
        oversampling: `p / h` and `q / w`; from 2 on, almost all images are determined up to a shift and a turn by 180
            degrees.
        noise_std: deviation of the noise of a magnitude.

    References:
        Hayes, The Reconstruction of a Multidimensional Sequence from the Phase or Magnitude of Its Fourier Transform,
        1982.
    """

    shape: Shape = eqx.field(static=True)
    oversampling: float = eqx.field(static=True, default=2.0)
    noise_std: Array | float = 0.0

    def __check_init__(self):
        if self.oversampling < 1:
            raise ValueError(f"oversampling must be at least 1, got {self.oversampling}")

    def forward(self, x: Array) -> Array:
        sizes = [round(self.oversampling * n) for n in self.shape[:2]]
        return jnp.abs(jnp.fft.fft2(x, sizes, axes=(0, 1), norm="ortho"))


class HighDynamicRange(AbstractOperator):
    """An exposure too long for the sensor: `y = clip(gain x, low, high)`.

    Args:
        shape: shape of one example.
        gain: factor of the exposure.
        low: darkest value, the black of the data's range.
        high: brightest value, its white.
        noise_std: deviation of the noise.
    """

    shape: Shape = eqx.field(static=True)
    gain: float = 2.0
    low: float = -1.0
    high: float = 1.0
    noise_std: Array | float = 0.0

    def forward(self, x: Array) -> Array:
        return jnp.clip(self.gain * x, self.low, self.high)


class JPEG(AbstractOperator):
    """What JPEG compression leaves of an image: an image of the same shape.

    Colours are turned to luma and chroma (not down-sampled), 8x8 blocks transformed, coefficients rounded to multiples
    of the standard's tables. Gradients pass the rounding as if it were the identity (straight through), so that `grad`
    sees the identity as a whole. Decoded values are not rounded to 8 bits, nor clipped to the range.

    Args:
        shape: shape of one example, [h, w, 1] or [h, w, 3], `h` and `w` multiples of 8.
        quality: 1 to 100, as of libjpeg.
        low: value of black.
        high: value of white.
        noise_std: deviation of the noise.

    References:
        Wallace, The JPEG Still Picture Compression Standard, 1991; Bengio et al., Estimating or Propagating Gradients
        Through Stochastic Neurons for Conditional Computation, 2013.
    """

    shape: Shape = eqx.field(static=True)
    quality: int = eqx.field(static=True)
    low: float = -1.0
    high: float = 1.0
    noise_std: Array | float = 0.0

    def __check_init__(self):
        if len(self.shape) != 3 or self.shape[0] % 8 or self.shape[1] % 8 or self.shape[2] not in (1, 3):
            raise ValueError(f"shape must be [h, w, 1 or 3] with h and w multiples of 8, got {self.shape}")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality must lie between 1 and 100, got {self.quality}")

    def forward(self, x: Array) -> Array:
        height, width, channels = self.shape
        product = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
        levels = (x - self.low) * (255 / (self.high - self.low))
        # Luma is centred on 0; chroma already is.
        planes = levels - 128 if channels == 1 else product("...c,dc", levels, TO_YCC) - jnp.array([128.0, 0, 0])
        blocks = planes.reshape(height // 8, 8, width // 8, 8, channels)
        coefficients = product("ui,vj,aibjc->aubvc", COSINES, COSINES, blocks)
        table = quantisation(self.quality, channels)[:, None]
        ratio = coefficients / table
        ratio += jax.lax.stop_gradient(jnp.round(ratio) - ratio)
        decoded = product("ui,vj,aubvc->aibjc", COSINES, COSINES, ratio * table).reshape(self.shape)
        if channels == 1:
            levels = decoded + 128
        else:
            levels = product("...c,dc", decoded + jnp.array([128.0, 0, 0]), np.linalg.inv(TO_YCC))
        return self.low + levels * ((self.high - self.low) / 255)


def quantisation(quality: int, channels: int) -> Float[np.ndarray, "8 8 c"]:
    """Return the steps of the coefficients of luma and, for three channels, twice those of chroma."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    tables = np.stack([LUMA_STEPS, CHROMA_STEPS, CHROMA_STEPS][:channels], -1)
    return np.clip((tables * scale + 50) // 100, 1, 255).astype(np.float32)


_order = np.arange(8)
# The orthonormal cosine transform, one frequency a row.
COSINES = (np.cos(np.pi * np.outer(_order, 2 * _order + 1) / 16) * np.where(_order, 0.5, 8**-0.5)[:, None]).astype(
    np.float32
)
# Rows: luma and the two chromas of red, green and blue (ITU-R BT.601, full range).
TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
# Tables K.1 and K.2 of ITU-T T.81.
LUMA_STEPS = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
CHROMA_STEPS = np.full((8, 8), 99)
CHROMA_STEPS[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
