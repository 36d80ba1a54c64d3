"""Maximum likelihood by the probability-flow ODE itself, for data of few dimensions."""

import diffrax

from sgm_jax.divergence import Exact, Hutchinson
from sgm_jax.likelihood import log_likelihood
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, PerExample, PRNGKey, PRNGKeys, ScoreFn


def maximum_likelihood(
    key: PRNGKey | PRNGKeys,
    sde: AbstractSDE,
    score_fn: ScoreFn,
    x: Batch,
    *,
    divergence: str | Hutchinson | Exact = "exact",
    adjoint: diffrax.AbstractAdjoint = diffrax.RecursiveCheckpointAdjoint(),  # noqa: B008 (an immutable value)
    **options,
) -> PerExample:
    """Compute the negative log-likelihood of each example, differentiable through the ODE solve.

    The model is a continuous normalising flow, of which score matching is no part: the field that results is a flow to
    the data, but need not be a score.

    Args:
        key: PRNG key of the projections, or one an example [b].
        sde: the forward SDE, which decides where the flow starts and ends.
        score_fn: `score_fn(t, x)`, a pytree whose arrays are the parameters, as `as_score` makes it of a
            `jax.tree_util.Partial`.
        x: data [b, ...].
        divergence: as in `log_likelihood`.
        adjoint: `diffrax.RecursiveCheckpointAdjoint()`, the gradient of the steps that were taken, or
            `diffrax.BacksolveAdjoint()`, which solves backward in constant memory and is as exact as the tolerances
            allow; the latter gives no gradient of the noise levels at which the SDE starts and ends.
        **options: those of `log_likelihood`: `rtol`, `atol`, `solver`, `chart`, `max_steps`.

    Returns:
        Losses [b] in nats.

    Raises:
        ValueError: as `log_likelihood`.

    References:
        Chen et al., Neural Ordinary Differential Equations, 2018. Grathwohl et al., FFJORD, 2019.
    """
    return -log_likelihood(key, sde, score_fn, x, divergence=divergence, adjoint=adjoint, **options).log_prob
