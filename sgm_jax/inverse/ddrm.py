"""Denoising diffusion restoration models."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from sgm_jax.inverse.ddnm import coefficients
from sgm_jax.inverse.measurement import explain
from sgm_jax.inverse.method import AbstractTransition
from sgm_jax.inverse.operator import AbstractSpectral


class DDRM(AbstractTransition):
    """Steps in the operator's coefficients, by how the noise `n = noise_std / gain` of each compares with the step's.

    Mean and noise of the step to `s1`, in canonical coordinates, from the estimate `d` and the measured `c`:

        not measured: d + sqrt(1 - eta**2) s1 (x - d) / s0,  eta s1
        s1 < n:       d + sqrt(1 - eta**2) s1 (c - d) / n,   eta s1
        s1 >= n:      d + eta_b (c - d),                     sqrt(s1**2 - (eta_b n)**2)

    Args:
        eta: share of fresh noise where the state or the measurement is noisier than the step's end; published: 0.85.
        eta_b: weight of the measurement where it is not; published: 1.

    Raises:
        ValueError: if either is not from 0 to 1.

    References:
        Kawar et al., Denoising Diffusion Restoration Models, 2022, eq. 7, 8.
    """

    eta: float = 0.85
    eta_b: float = 1.0
    repeats: ClassVar[int] = 1
    needs: ClassVar[type] = AbstractSpectral

    def __check_init__(self):
        for name in ("eta", "eta_b"):
            if isinstance(getattr(self, name), int | float) and not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, got {getattr(self, name)}")

    def transition(
        self, operator: AbstractSpectral, y: Array, s0: Array, s1: Array, x: Array, denoised: Array, noise: Array
    ) -> Array:
        measured, deviation, seen = coefficients(operator, y)
        estimate = operator.analyse(denoised)
        noisier = seen & (deviation > s1)
        error = measured - estimate
        unseen = (operator.analyse(x) - estimate) / s0
        direction = jnp.where(seen, error / jnp.where(noisier, deviation, 1), unseen)
        kept = jnp.sqrt(1 - self.eta**2) * s1 * direction
        clear = seen & ~noisier
        mean = estimate + jnp.where(clear, self.eta_b * error, kept)
        rest = jnp.sqrt(jnp.maximum(s1**2 - (self.eta_b * deviation) ** 2, 0))
        spread = jnp.where(clear, rest, self.eta * s1)
        return operator.synthesise(mean + spread * operator.analyse(noise))

    def finish(self, operator: AbstractSpectral, y: Array, x: Array) -> Array:
        return explain(operator, y, x)
