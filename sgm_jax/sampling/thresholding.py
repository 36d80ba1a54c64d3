"""Thresholding: score functions whose denoised estimate is kept within the range of the data."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp

from sgm_jax.score import as_denoiser
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, Level, ScoreFn, expand


def _check_range(low, high) -> None:
    if isinstance(low, int | float) and isinstance(high, int | float) and not low < high:
        raise ValueError(f"the range must satisfy low < high, got low={low}, high={high}")


class StaticThreshold(eqx.Module):
    """Clip to `[low, high]`.

    Args:
        low: least value of the data.
        high: greatest value of the data.

    Raises:
        ValueError: unless `low < high`.
    """

    low: float = -1.0
    high: float = 1.0

    def __check_init__(self):
        _check_range(self.low, self.high)

    def __call__(self, denoised: Batch) -> Batch:
        return jnp.clip(denoised, self.low, self.high)


class DynamicThreshold(eqx.Module):
    """Clip each example to its own range and shrink that range to `[low, high]`.

    With the data scaled to `[-1, 1]` and `q` the quantile of `|x0|` over an example, but at least 1:
    `x0 <- clip(x0, -q, q) / q`. It keeps strong guidance from saturating many pixels.

    Args:
        quantile: which quantile of an example's magnitudes is kept, in [0, 1].
        low: least value of the data.
        high: greatest value of the data.

    Raises:
        ValueError: unless `low < high` and `0 <= quantile <= 1`.

    References:
        Saharia et al., Photorealistic Text-to-Image Diffusion Models with Deep Language Understanding, 2022, section
        2.3.
    """

    quantile: float = 0.995
    low: float = -1.0
    high: float = 1.0

    def __check_init__(self):
        _check_range(self.low, self.high)
        if isinstance(self.quantile, int | float) and not 0 <= self.quantile <= 1:
            raise ValueError(f"quantile must lie in [0, 1], got {self.quantile}")

    def __call__(self, denoised: Batch) -> Batch:
        centre, radius = 0.5 * (self.low + self.high), 0.5 * (self.high - self.low)
        scaled = (denoised - centre) / radius
        reach = jnp.quantile(jnp.abs(scaled).reshape(scaled.shape[0], -1), self.quantile, axis=1)
        reach = expand(jnp.maximum(reach, 1), scaled)
        return centre + radius * jnp.clip(scaled / reach, -1, 1)


class ThresholdedScore(eqx.Module):
    """The score function of a thresholded denoised estimate: see `threshold`."""

    sde: AbstractSDE
    score_fn: ScoreFn
    rule: Callable[[Batch], Batch]

    def __call__(self, t: Level, x: Batch) -> Batch:
        score = self.score_fn(t, x)
        denoised = as_denoiser(self.sde, lambda t, x: score)(t, x)
        # As a change of the score, so that an estimate within range leaves it exactly as it was.
        change = self.rule(denoised) - denoised
        return score + expand(self.sde.alpha(t) / self.sde.sigma(t) ** 2, x) * change


def threshold(sde: AbstractSDE, score_fn: ScoreFn, rule: Callable[[Batch], Batch]) -> ThresholdedScore:
    """Make a score function `(t, x) -> score` [b, ...] whose denoised estimate went through `rule`.

    `score' = score + alpha / sigma**2 (rule(x0) - x0)`, so every process and solver sees `rule(x0)` as its estimate.

    Args:
        sde: the forward SDE.
        score_fn: `score_fn(t, x)`, with guidance already in it.
        rule: `StaticThreshold`, `DynamicThreshold` or any function of the denoised estimate in data units [b, ...].
    """
    return ThresholdedScore(sde, score_fn, rule)
