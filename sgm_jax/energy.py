"""Energy-based models: scores of energies, normalising constants, and how far a free-form score is from a gradient.

An energy `E(t, x)` gives the unnormalised density `exp(-E)`, whose score is `-grad E`: every objective, sampler and
inverse method takes it as any other score function.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgm_jax.divergence import Projection, rademacher
from sgm_jax.sampling.langevin import mala
from sgm_jax.shapes import Batch, Level, PerExample, PRNGKey, ScoreFn, sum_per_example

Energy = Callable[[Level, Batch], PerExample]
LogDensity = Callable[[Batch], PerExample]


def energy_score(energy_fn: Energy) -> ScoreFn:
    """Make the score function `score_fn(t, x) = -grad energy_fn(t, x)` [b, ...] of energies [b].

    References:
        Song and Kingma, How to Train Your Energy-Based Models, 2021, eq. 3.
    """

    def score(t, x):
        return -jax.grad(lambda y: jnp.sum(energy_fn(t, y)))(x)

    return score


def geometric_path(start: LogDensity, end: LogDensity) -> Callable[[Array, Batch], PerExample]:
    """Return `(fraction, x) -> (1 - fraction) start(x) + fraction end(x)`: log densities from one to the other."""
    return lambda fraction, x: (1 - fraction) * start(x) + fraction * end(x)


class Annealed(eqx.Module):
    """What `annealed_importance_sampling` returns.

    Args:
        log_ratio: estimated log of the ratio of the normalising constants, end to start, in nats.
        log_weights: log importance weight of each chain [b].
        x: where the chains end [b, ...], to be weighed by `log_weights`.
        acceptance: share of accepted proposals at each fraction [n].
    """

    log_ratio: Array
    log_weights: PerExample
    x: Batch
    acceptance: Float[Array, " n"]

    @property
    def effective_samples(self) -> Array:
        """The number of independent samples that the weighted chains are worth."""
        return jnp.exp(2 * jax.nn.logsumexp(self.log_weights) - jax.nn.logsumexp(2 * self.log_weights))


@eqx.filter_jit
def annealed_importance_sampling(
    key: PRNGKey,
    log_density: Callable[[Array, Batch], PerExample],
    x: Batch,
    fractions: Float[Array, " n"],
    *,
    step_size: Float[Array, " n"] | float,
    steps: int = 1,
) -> Annealed:
    """Estimate a normalising constant by chains that walk from a known density to an unnormalised one.

    At each fraction a chain gains `log_density(new fraction, x) - log_density(old fraction, x)` and then moves by MALA,
    which leaves the density of the new fraction alone. The mean of the weights is unbiased; its logarithm is a
    lower bound in expectation.

    Args:
        key: PRNG key of the chains.
        log_density: `(fraction, x) -> [b]`, unnormalised, such as `geometric_path` gives.
        x: exact samples [b, ...] of the density at fraction 0.
        fractions: where to stop on the way [n], increasing, above 0; the last one is the density that is asked for.
        step_size: of MALA, one for all or one a fraction [n].
        steps: MALA steps at each fraction.

    References:
        Neal, Annealed Importance Sampling, 2001, eq. 3-8.
    """
    fractions = jnp.asarray(fractions)
    starts = jnp.concatenate([jnp.zeros(1, fractions.dtype), fractions[:-1]])
    sizes = jnp.broadcast_to(jnp.asarray(step_size, x.dtype), fractions.shape)

    def move(carry, stop):
        x, log_weights = carry
        key, before, fraction, size = stop
        log_weights = log_weights + log_density(fraction, x) - log_density(before, x)
        chains = mala(key, lambda y: log_density(fraction, y), x, step_size=size, steps=steps)
        return (chains.x, log_weights), chains.acceptance.mean()

    stops = (jax.random.split(key, len(fractions)), starts, fractions, sizes)
    (x, log_weights), acceptance = jax.lax.scan(move, (x, jnp.zeros(x.shape[0], x.dtype)), stops)
    log_ratio = jax.nn.logsumexp(log_weights) - jnp.log(x.shape[0])
    return Annealed(log_ratio, log_weights, x, acceptance)


def asymmetry(
    key: PRNGKey, score: Callable[[Batch], Batch], x: Batch, *, probes: int = 8, projection: Projection = rademacher
) -> PerExample:
    """Measure how far a vector field is from a gradient: `|J - J^T|**2 / (4 |J|**2)` [b], with its Jacobian `J`.

    0 for the gradient of an energy, 1 for a field whose Jacobian is antisymmetric; squared Frobenius norms, estimated
    from random projections.

    Args:
        key: PRNG key of the projections.
        score: `x -> [b, ...]`, such as `lambda x: score_fn(t, x)`.
        x: where to measure [b, ...].
        probes: number of projections an example.
        projection: `(key, shape) -> v` with `E[v v^T]` the identity.

    Raises:
        ValueError: if `probes` is below 1.

    References:
        Salimans and Ho, Should EBMs Model the Energy or the Score?, 2021, section 3.
    """
    if probes < 1:
        raise ValueError(f"probes must be at least 1, got {probes}")

    def norms(key):
        v = projection(key, x.shape)
        _, ahead = jax.jvp(score, (x,), (v,))
        (back,) = jax.vjp(score, x)[1](v)
        squares = 0.5 * (sum_per_example(jnp.square(ahead)) + sum_per_example(jnp.square(back)))
        return sum_per_example(jnp.square(ahead - back)), squares

    difference, whole = jax.lax.map(norms, jax.random.split(key, probes))
    return difference.sum(axis=0) / (4 * whole.sum(axis=0))
