"""How consistency training changes with its steps: the number of noise levels, and the target's moving average."""

import math

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int


class FixedLevels(eqx.Module):
    """The same number of noise levels, `last`, throughout."""

    last: int = 18

    def __call__(self, step: Int[Array, ""] | int) -> Array:
        return jnp.asarray(self.last)


class ProgressiveLevels(eqx.Module):
    """Noise levels whose number grows as the square root of the steps made.

    `N(k) = ceil(sqrt(k / K ((s1 + 1)**2 - s0**2) + s0**2) - 1) + 1` at step `k` of `K`, from `s0` to about `s1`.

    Args:
        first: `s0`.
        last: `s1`.
        steps: `K`.

    References:
        Song et al., Consistency Models, 2023, section 5 and appendix C.
    """

    first: int = 2
    last: int = 150
    steps: int = 800_000

    def __call__(self, step: Int[Array, ""] | int) -> Array:
        square = step / self.steps * ((self.last + 1) ** 2 - self.first**2) + self.first**2
        return jnp.ceil(jnp.sqrt(square) - 1).astype(int) + 1


class DoublingLevels(eqx.Module):
    """Noise levels whose number doubles at regular distances: `min(s0 2**floor(k / K'), s1) + 1`.

    Args:
        first: `s0`.
        last: `s1`.
        steps: `K`, of which `K' = floor(K / (log2(floor(s1 / s0)) + 1))` go by between two doublings.

    References:
        Song and Dhariwal, Improved Techniques for Training Consistency Models, 2023, section 3.4.
    """

    first: int = 10
    last: int = 1280
    steps: int = 400_000

    def __call__(self, step: Int[Array, ""] | int) -> Array:
        every = max(math.floor(self.steps / (math.log2(self.last // self.first) + 1)), 1)
        return jnp.minimum(self.first * 2.0 ** (step // every), self.last).astype(int) + 1


LEVELS = {"doubling": DoublingLevels, "fixed": FixedLevels, "progressive": ProgressiveLevels}


class FixedRate(eqx.Module):
    """The same decay of the target's moving average throughout."""

    rate: float = 0.95

    def __call__(self, step: Int[Array, ""] | int) -> Array:
        return jnp.asarray(self.rate)


class ProgressiveRate(eqx.Module):
    """The decay that goes with a growing number of levels: `mu(k) = exp(s0 log(mu0) / N(k))`.

    Args:
        levels: `N`, a function of the step, with its `first` as `s0`.
        rate: `mu0`, the decay at the first step but for `N(0)` in place of `s0`.

    References:
        Song et al., Consistency Models, 2023, section 5.
    """

    levels: ProgressiveLevels
    rate: float = 0.9

    def __call__(self, step: Int[Array, ""] | int) -> Array:
        return jnp.exp(self.levels.first * math.log(self.rate) / self.levels(step))
