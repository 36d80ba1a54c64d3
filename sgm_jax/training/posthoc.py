"""Averages of the parameters whose length is chosen after training.

Training keeps a few averages with power-function profiles and stores them now and then; any other length is a
combination of what was stored.

References:
    Karras et al., Analyzing and Improving the Training Dynamics of Diffusion Models, 2024, section 3, appendix C.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

LONGEST = 0.28  # of a profile's relative width; that of a plain mean is 1 / sqrt(12) = 0.289


@dataclasses.dataclass(frozen=True)
class PowerProfile:
    """An average in which the parameters of step `i` of `n` weigh as `i**gamma`.

    Args:
        width: standard deviation of the profile in units of the steps made so far, between 0 and 0.28.

    Raises:
        ValueError: if `width` is out of range.
    """

    width: float

    def __post_init__(self):
        if not 0 < self.width <= LONGEST:
            raise ValueError(f"the width of an average must lie in (0, {LONGEST}], got {self.width}")

    @property
    def gamma(self) -> float:
        """The exponent: the root of `width**2 (gamma + 2)**2 (gamma + 3) = gamma + 1` (eq. 123 and on)."""
        squared = self.width**-2
        return float(np.roots([1, 7, 16 - squared, 12 - squared]).real.max())

    def __call__(self, step: Array) -> Array:
        """Return the decay of the step from number `step` on: `(1 - 1 / (step + 1))**(gamma + 1)` (eq. 127)."""
        return (1 - 1 / (step + 1)) ** (self.gamma + 1)


def combination(
    steps: Sequence[int], profiles: Sequence[PowerProfile], step: int, profile: PowerProfile
) -> Float[np.ndarray, " n"]:
    """Return the weights of stored averages that come nearest to another profile, in the sense of least squares.

    Args:
        steps: when each was stored [n].
        profiles: what each is an average by [n].
        step: when the wanted average ends.
        profile: the wanted profile.

    References:
        Karras et al., 2024, algorithm 3.
    """
    times, exponents = np.asarray(steps, np.float64), np.array([p.gamma for p in profiles])
    gram = _product(times[:, None], exponents[:, None], times, exponents)
    wanted = _product(times, exponents, float(step), profile.gamma)
    return np.linalg.lstsq(gram, wanted, rcond=1e-12)[0]


def _product(time, gamma, other_time, other_gamma):
    """Return the integral of the product of two profiles, `(gamma + 1) t**gamma / time**(gamma + 1)` up to `time`."""
    shorter = np.minimum(time, other_time)
    # In powers of ratios, since those of the times themselves overflow.
    powers = (shorter / time) ** gamma * (shorter / other_time) ** other_gamma * shorter / (time * other_time)
    return (gamma + 1) * (other_gamma + 1) / (gamma + other_gamma + 1) * powers


def combine(weights: Float[np.ndarray, " n"], averages: Sequence[PyTree]) -> Any:
    """Return the weighted sum of stored averages, summed in double precision."""

    def total(*leaves):
        terms = [w * np.asarray(leaf, np.float64) for w, leaf in zip(weights, leaves, strict=True)]
        return jnp.asarray(np.asarray(sum(terms), leaves[0].dtype))

    return jax.tree.map(total, *averages)
