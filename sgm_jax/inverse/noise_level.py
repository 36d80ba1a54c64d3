"""How noisy a measurement is, where nobody knows."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def estimate_noise_std(y: Array, axes: tuple[int, ...] = (0, 1)) -> Float[Array, ""]:
    """Estimate the deviation of white noise in one measurement whose content varies slowly along some axes.

    The median of the finest Haar wavelet coefficients' magnitudes, by its ratio 0.6745 to a Gaussian's deviation.
    Content as fine as a pixel makes the estimate too large; a measurement without such axes, such as random
    combinations of pixels, or one of which most entries are not recorded, tells nothing.

    Args:
        y: one measurement, real or complex.
        axes: along which it varies slowly, at least two entries long.

    Returns:
        The deviation, that of complex noise if `y` is complex.

    References:
        Donoho and Johnstone, Ideal Spatial Adaptation by Wavelet Shrinkage, 1994.
    """
    if jnp.iscomplexobj(y):
        parts = jnp.stack([y.real, y.imag], -1)
        return jnp.sqrt(2.0) * estimate_noise_std(parts, tuple(axis % y.ndim for axis in axes))
    for axis in axes:
        pairs = jnp.moveaxis(y, axis, 0)
        pairs = pairs[: len(pairs) // 2 * 2]
        y = jnp.moveaxis((pairs[::2] - pairs[1::2]) / jnp.sqrt(2.0), 0, axis)
    return jnp.median(jnp.abs(y)) / 0.67448975
