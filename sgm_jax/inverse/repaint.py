"""RePaint: replacement inside ancestral sampling, each step taken several times."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from sgm_jax.inverse.measurement import explain
from sgm_jax.inverse.method import AbstractTransition
from sgm_jax.inverse.operator import AbstractLinear


class RePaint(AbstractTransition):
    """Ancestral steps whose measured part is replaced, harmonised by going back up and down again.

    `x <- (1 - P) x_unknown + A^+ y + s1 P z`, where `x_unknown` is drawn from the ancestral posterior. Jumps are one
    step long.

    Args:
        repeats: how often each step is taken (`U` in the paper); 1 is plain replacement.

    Raises:
        ValueError: if `repeats` is less than 1.

    References:
        Lugmayr et al., RePaint: Inpainting using Denoising Diffusion Probabilistic Models, 2022, eq. 8, algorithm 1.
    """

    repeats: int = 10
    needs: ClassVar[type] = AbstractLinear

    def transition(
        self, operator: AbstractLinear, y: Array, s0: Array, s1: Array, x: Array, denoised: Array, noise: Array
    ) -> Array:
        shrink = 1 - (s1 / s0) ** 2
        unknown = x + shrink * (denoised - x) + s1 * jnp.sqrt(shrink) * noise
        return unknown + operator.pseudo_inverse(y) + operator.project_range(s1 * noise - unknown)

    def finish(self, operator: AbstractLinear, y: Array, x: Array) -> Array:
        return explain(operator, y, x)
