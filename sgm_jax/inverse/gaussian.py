"""Gaussian data, whose posterior is known: what other methods are measured against."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgm_jax.inverse.measurement import Measurement, noise_variance
from sgm_jax.inverse.method import AbstractMethod
from sgm_jax.inverse.operator import AbstractLinear
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, Level, ScoreFn, expand


class GaussianPosterior(AbstractMethod):
    """The exact posterior score where the data are Gaussian; it never asks the score function.

    Args:
        mean: mean of the data [*shape].
        covariance: their covariance [d, d], of the flattened examples.

    References:
        Kalman, A New Approach to Linear Filtering and Prediction Problems, 1960.
    """

    mean: Array
    covariance: Float[Array, "d d"]
    needs: ClassVar[type] = AbstractLinear

    def posterior(self, operator: AbstractLinear, y: Array) -> tuple[Array, Float[Array, "d d"]]:
        """Return mean [*shape] and covariance [d, d] of the data given one measurement."""
        real = lambda y: jnp.concatenate([y.real.ravel(), y.imag.ravel()]) if jnp.iscomplexobj(y) else y.ravel()
        units = jnp.eye(self.mean.size).reshape(-1, *self.mean.shape)
        matrix = jax.vmap(lambda unit: real(operator.forward(unit)), out_axes=1)(units)
        cross = self.covariance @ matrix.T
        gram = matrix @ cross + noise_variance(operator) * jnp.eye(len(matrix))
        gain = cross @ jnp.linalg.pinv(gram, hermitian=True)
        shift = gain @ real(y - operator.forward(self.mean))
        return self.mean + shift.reshape(self.mean.shape), self.covariance - gain @ cross.T

    def condition(self, sde: AbstractSDE, score_fn: ScoreFn, measurement: Measurement) -> ScoreFn:
        return GaussianScore(sde, measurement, self)


class GaussianScore(eqx.Module):
    """The score function of `GaussianPosterior`."""

    sde: AbstractSDE
    measurement: Measurement
    method: GaussianPosterior

    def __call__(self, t: Level, x: Batch) -> Batch:
        def score(operator, y, s, xbar):
            mean, covariance = self.method.posterior(operator, y)
            spread = covariance + jnp.square(s) * jnp.eye(mean.size)
            return jnp.linalg.solve(spread, (mean - xbar).ravel()).reshape(mean.shape)

        alpha, s = expand(self.sde.alpha(t), x), jnp.broadcast_to(self.sde.s(t), x.shape[:1])
        return self.measurement.map(score, s, x / alpha) / alpha
