"""How good a reconstruction is: nearness to the truth and to the measurement, and whether its doubt is justified."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgm_jax.inverse.operator import AbstractOperator

Image = Float[Array, "h w c"]


def psnr(truth: Image, image: Image, *, data_range: float) -> Float[Array, ""]:
    """Return the peak signal-to-noise ratio in decibels, `10 log10(data_range^2 / mean squared error)`.

    Args:
        truth: reference image [h, w, c].
        image: what is judged.
        data_range: distance from black to white, such as 2 for images in [-1, 1].
    """
    return 10 * jnp.log10(data_range**2 / jnp.mean(jnp.square(truth - image)))


def uniform_weights(size: int = 7) -> Float[np.ndarray, " k"]:
    """Return equal weights for `ssim`, scikit-image's default."""
    return np.full(size, 1 / size)


def gaussian_weights(std: float = 1.5, truncate: float = 3.5) -> Float[np.ndarray, " k"]:
    """Return Gaussian weights for `ssim`, as of its authors: 11 pixels of deviation 1.5."""
    radius = int(truncate * std + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / std) ** 2)
    return weights / weights.sum()


def narrow_weights(pixels: int) -> Float[np.ndarray, " k"]:
    """Return `gaussian_weights()`, cut to the widest odd window that images `pixels` wide hold."""
    weights = gaussian_weights()
    cut = max(0, (len(weights) - pixels + 1) // 2)
    kept = weights[cut : len(weights) - cut]
    return kept / kept.sum()


def ssim(
    truth: Image,
    image: Image,
    *,
    data_range: float,
    weights: Float[np.ndarray, " k"] | None = None,
    ddof: int = 0,
) -> Float[Array, ""]:
    """Return the structural similarity, the mean over channels and over all windows that lie inside the image.

    The defaults are the authors' (scikit-image's `gaussian_weights=True, use_sample_covariance=False`);
    `weights=uniform_weights(), ddof=1` is scikit-image's own.

    Args:
        truth: reference image [h, w, c].
        image: what is judged.
        data_range: distance from black to white.
        weights: of the window along each axis, of sum 1; `gaussian_weights()` unless given.
        ddof: taken from the number of a window's pixels where covariances are divided by it.

    Raises:
        ValueError: if the window exceeds the image.

    References:
        Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity, 2004.
    """
    weights = gaussian_weights() if weights is None else np.asarray(weights)
    if len(weights) > min(truth.shape[:2]):
        raise ValueError(f"weights must be no more than the image {truth.shape[:2]} has pixels, got {len(weights)}")
    window = jnp.asarray(np.outer(weights, weights), truth.dtype)[None, None]
    highest = jax.lax.Precision.HIGHEST
    local = lambda x: jax.lax.conv(jnp.moveaxis(x, -1, 0)[:, None], window, (1, 1), "VALID", highest)
    # Covariances do not depend on the grey that is taken as 0; rounding does.
    middle = jnp.mean(truth)
    x, y = truth - middle, image - middle
    mean_x, mean_y = local(x), local(y)
    factor = window.size / (window.size - ddof)
    var_x, var_y = factor * (local(x * x) - mean_x**2), factor * (local(y * y) - mean_y**2)
    covariance = factor * (local(x * y) - mean_x * mean_y)
    mean_x, mean_y = mean_x + middle, mean_y + middle
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return jnp.mean(luminance * (2 * covariance + c2) / (var_x + var_y + c2))


def relative_residual(operator: AbstractOperator, x: Array, y: Array) -> Float[Array, ""]:
    """Return how far one example is from explaining one measurement: `|forward(x) - y| / |y|`, where recorded.

    For the truth and `m` recorded entries it is about `noise_std sqrt(m) / |y|`.
    """
    y = operator.record(y)
    return jnp.linalg.norm((operator.forward(x) - y).ravel()) / jnp.linalg.norm(y.ravel())


def coverage(
    truth: Float[Array, "*n"], samples: Float[Array, "s *n"], levels: Float[Array, " l"]
) -> Float[Array, " l"]:
    """Return the share of numbers that lie in the central credible interval of their posterior samples, by level.

    The intervals are told by the rank of the truth among the samples; a calibrated sampler covers what `levels` say,
    up to steps of `1 / (s + 1)`.

    Args:
        truth: true numbers, such as an image's.
        samples: `s` posterior samples of them.
        levels: credibilities in [0, 1].
    """
    below = jnp.sum((samples < truth) + 0.5 * (samples == truth), 0)
    rank = (below + 0.5) / (len(samples) + 1)
    return jnp.mean(jnp.abs(2 * rank.ravel() - 1) <= levels[:, None], 1)
