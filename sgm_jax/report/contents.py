"""What a page shows."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Shaped

Array = Shaped[np.ndarray, "..."]


@dataclasses.dataclass(frozen=True)
class Report:
    """What a page shows; a section appears only if there is something for it.

    Args:
        title: headline.
        samples: raw images [n, h, w, c] or points [n, 2].
        data: real examples to set beside them, alike.
        film: noisy states of some samples [k, frames, h, w, c].
        film_denoised: the denoised estimates at these states, alike.
        film_levels: noise level of each frame [frames], in data units.
        animation: states of many samples [frames, n, h, w, c], or of points [frames, n, 2].
        animation_levels: noise level of each of its states [frames], in data units.
        interpolation: decoded walks between latent codes [rows, columns, h, w, c].
        inverse: `original`, `measured`, `mean`, `std` [k, ...], `restored` [k, draws, ...], and a `summary` of figures.
        curves: rows of the metrics.
        likelihood: `bits_per_dim`, `standard_error`, `examples`, `nats_per_example`, `evaluations`, `per_example`.
        quality: what `sgm_jax.evaluation.quality` returns.
        guidance: rows of `scale`, `frechet`, `frechet_floor`, `class_accuracy`, `confident`.
        guided: some samples of each row [rows, n, h, w, c].
        samplers: rows of `sampler`, `evaluations`, `seconds`, `frechet`, `frechet_floor`, `confident`.
        compared: some samples of each row [rows, n, h, w, c].
        selection: `criterion`, rows of `step` and figures as `checkpoints`, the `best` step and its `figures`.
        config: the experiment's config.
        timings: seconds by what they were spent on.
        environment: what the run ran on.
    """

    title: str
    samples: Array | None = None
    data: Array | None = None
    film: Array | None = None
    film_denoised: Array | None = None
    film_levels: Array | None = None
    animation: Array | None = None
    animation_levels: Array | None = None
    interpolation: Array | None = None
    inverse: dict[str, Any] | None = None
    curves: list[dict[str, Any]] | None = None
    likelihood: dict[str, Any] | None = None
    quality: dict[str, Any] | None = None
    guidance: list[dict[str, float]] | None = None
    guided: Array | None = None
    samplers: list[dict[str, Any]] | None = None
    compared: Array | None = None
    selection: dict[str, Any] | None = None
    config: dict[str, Any] | None = None
    timings: dict[str, float] | None = None
    environment: dict[str, str] | None = None
