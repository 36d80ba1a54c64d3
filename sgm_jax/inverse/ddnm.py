"""Denoising diffusion null-space models: the estimate's measured part is what was measured."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from sgm_jax.inverse.measurement import explain, noise_variance
from sgm_jax.inverse.method import AbstractRefined, AbstractTransition
from sgm_jax.inverse.operator import AbstractLinear, AbstractSpectral


class DDNM(AbstractRefined):
    """Replace the range of the denoised estimate, `x0 <- A^+ y + (1 - A^+ A) x0`: for measurements without noise.

    References:
        Wang et al., Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model, 2023, eq. 12, algorithm 1.
    """

    needs: ClassVar[type] = AbstractLinear

    def refine(self, operator: AbstractLinear, y: Array, s: Array, denoised: Array) -> Array:
        return denoised + operator.pseudo_inverse(y - operator.forward(denoised))

    def finish(self, operator: AbstractLinear, y: Array, x: Array) -> Array:
        return explain(operator, y, x)


class DDNMPlus(AbstractTransition):
    """DDNM for noisy measurements: coefficients are replaced as far as a step's noise has room for the measurement's.

    Ancestral steps `x <- x + v (x0 - x) + s1 sqrt(v) z` with `v = 1 - (s1 / s0)**2`, in the operator's coefficients: a
    measured one of noise `n = noise_std / gain` is corrected by the share `k = min(1, s1 / (sqrt(v) n))` of its error,
    and gets noise of variance `s1**2 v - (k v n)**2` besides. Without noise it is `DDNM` with `Ancestral`.

    Args:
        repeats: how often each step is taken: the paper's time travel, with jumps of one step.

    Raises:
        ValueError: if `repeats` is less than 1.

    References:
        Wang et al., 2023, eq. 17-19.
    """

    repeats: int = 1
    needs: ClassVar[type] = AbstractSpectral

    def transition(
        self, operator: AbstractSpectral, y: Array, s0: Array, s1: Array, x: Array, denoised: Array, noise: Array
    ) -> Array:
        shrink = 1 - (s1 / s0) ** 2
        spread = s1 * jnp.sqrt(shrink)
        measured, deviation, seen = coefficients(operator, y)
        estimate = operator.analyse(denoised)
        # A step moves by `shrink` times the correction.
        reach = shrink * deviation
        share = jnp.where(seen, jnp.where(reach > spread, spread / jnp.where(reach > 0, reach, 1), 1.0), 0.0)
        estimate = estimate + share * (measured - estimate)
        spread = jnp.sqrt(jnp.maximum(spread**2 - (share * reach) ** 2, 0))
        before = operator.analyse(x)
        return operator.synthesise(before + shrink * (estimate - before) + spread * operator.analyse(noise))

    def finish(self, operator: AbstractSpectral, y: Array, x: Array) -> Array:
        return explain(operator, y, x)


def coefficients(operator: AbstractSpectral, y: Array) -> tuple[Array, Array, Array]:
    """Return the measured coefficients of an example, the deviation of their noise, and which ones are measured."""
    gains = operator.gains
    seen = gains > 0
    divisor = jnp.where(seen, gains, 1)
    return operator.place(y) / divisor, jnp.sqrt(noise_variance(operator)) / divisor, seen
