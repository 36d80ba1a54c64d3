"""Noise levels and Langevin steps that suit a data set, by the rules of NCSNv2."""

import dataclasses

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import norm


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """What `suggest` recommends.

    Attributes:
        sigma_max: largest noise level, in data units.
        sigma_min: smallest noise level, in data units.
        levels: number of noise levels, geometrically spaced.
        ratio: of one level to the next smaller one.
        langevin_steps: Langevin steps a level.
        step_size: of annealed Langevin dynamics at the smallest level (`epsilon` of the paper).
        snr: what gives predictor-corrector samplers the same step.
        sigma_data: standard deviation of the data, for networks that are preconditioned with it.
    """

    sigma_max: float
    sigma_min: float
    levels: int
    ratio: float
    langevin_steps: int
    step_size: float
    snr: float
    sigma_data: float


def suggest(
    data: Float[np.ndarray, "n ..."], *, sigma_min: float = 0.01, langevin_steps: int = 5, examples: int = 5000
) -> Suggestion:
    """Recommend noise levels and Langevin steps for a data set.

    Args:
        data: examples [n, ...], in the model's range.
        sigma_min: smallest noise level, in data units: noise that does no harm to the eye.
        langevin_steps: Langevin steps a level, as many as can be afforded.
        examples: how many of the data, drawn evenly, the largest distance is looked for in.

    Raises:
        ValueError: if there are fewer than two examples, `sigma_min` or `langevin_steps` is not positive, or
            `sigma_min` is no smaller than the data's largest distance.

    References:
        Song and Ermon, Improved Techniques for Training Score-Based Generative Models, 2020, techniques 1, 2 and 4.
    """
    if len(data) < 2:
        raise ValueError(f"data must hold at least 2 examples, got {len(data)}")
    if not sigma_min > 0:
        raise ValueError(f"sigma_min must be > 0, got {sigma_min}")
    if langevin_steps < 1:
        raise ValueError(f"langevin_steps must be at least 1, got {langevin_steps}")
    flat = np.asarray(data, np.float32).reshape(len(data), -1)
    sigma_max = largest_distance(flat[np.linspace(0, len(flat) - 1, min(examples, len(flat))).astype(int)])
    if not sigma_min < sigma_max:
        raise ValueError(f"sigma_min must be below the largest distance in the data, {sigma_max:.4g}, got {sigma_min}")
    count = level_count(sigma_max, sigma_min, flat.shape[1])
    ratio = (sigma_max / sigma_min) ** (1 / (count - 1))
    epsilon = step_size(ratio, langevin_steps) * sigma_min**2
    return Suggestion(
        sigma_max=sigma_max,
        sigma_min=sigma_min,
        levels=count,
        ratio=ratio,
        langevin_steps=langevin_steps,
        step_size=epsilon,
        snr=float(np.sqrt(epsilon / 2) / sigma_min),
        sigma_data=float(flat.std()),
    )


def largest_distance(data: Float[np.ndarray, "n d"], block: int = 512) -> float:
    """Return the largest Euclidean distance between two examples (technique 1), block by block."""
    # Centred, so that little is lost in the difference of squares.
    data = data - data.mean(axis=0)
    squares = np.square(data).sum(axis=1)
    largest = 0.0
    for start in range(0, len(data), block):
        rows = slice(start, start + block)
        distances = squares[rows, None] + squares[None] - 2 * data[rows] @ data.T
        largest = max(largest, float(distances.max()))
    return float(np.sqrt(largest))


def level_ratio(dimension: int) -> float:
    """Return the ratio of neighbouring levels at which their radii overlap by one half (technique 2).

    At most 2: in few dimensions the rule by itself sets no limit.
    """

    def overlap(excess):
        centre, width = np.sqrt(2 * dimension) * excess, 3 * (1 + excess)
        return norm.cdf(centre + width) - norm.cdf(centre - width) - 0.5

    return 1 + brentq(overlap, 1e-9, 1.0) if overlap(1.0) < 0 else 2.0


def level_count(sigma_max: float, sigma_min: float, dimension: int) -> int:
    """Return how many geometric levels from `sigma_max` to `sigma_min` keep to `level_ratio`, at least two."""
    return max(2, 1 + round(float(np.log(sigma_max / sigma_min) / np.log(level_ratio(dimension)))))


def step_size(ratio: float, steps: int) -> float:
    """Return the Langevin step, in units of the smallest level's square, that best keeps each level's variance.

    `steps` Langevin steps at a level start from samples of the level above, `ratio` times as wide; what their variance
    is in the end, in units of the level's own, should be closest to one (technique 4).
    """

    def excess(step):
        kept = (1 - step) ** (2 * steps)
        return abs(kept * ratio**2 + 2 / (2 - step) * (1 - kept) - 1)

    grid = np.geomspace(1e-6, 1, 2000)
    best = int(np.argmin([excess(step) for step in grid]))
    bounds = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    return float(minimize_scalar(excess, bounds=bounds, method="bounded", options={"xatol": 1e-9}).x)
