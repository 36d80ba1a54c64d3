"""The chart in which the reverse SDE is evenly stiff throughout: for adaptive stochastic solving."""

import jax.numpy as jnp
from jaxtyping import Array

from sgm_jax.sampling.charts import AbstractChart
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, Level


class Hyperbolic(AbstractChart):
    """The clock `u = arcsinh(s / c)` with `y = x / (alpha c cosh(u))`, of unit scale throughout.

    `dy/du = noise - tanh(u) y`. The clock is logarithmic in `s` above the data's scale and linear below it, so the
    diffusion of `ReverseSDE`, `eta sqrt(2 tanh(u))`, and the rate of its drift are bounded.

    Args:
        data_scale: `c`, the standard deviation of the data, in data units.
    """

    data_scale: float = 1.0

    def clock(self, sde: AbstractSDE, s: Level) -> Array:
        return jnp.arcsinh(jnp.asarray(s) / self.data_scale)

    def level(self, sde: AbstractSDE, u: Level) -> Array:
        return self.data_scale * jnp.sinh(u)

    def scale(self, sde: AbstractSDE, s: Level) -> Array:
        return 1 / jnp.hypot(jnp.asarray(s), self.data_scale)

    def velocity(self, sde: AbstractSDE, s: Level, y: Batch, noise: Batch) -> Batch:
        return noise - jnp.asarray(s) / jnp.hypot(jnp.asarray(s), self.data_scale) * y
