"""The training state, and the pure step from one state to the next."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from sgm_jax.shapes import PRNGKey
from sgm_jax.training.averaging import harmonic

Batch = dict[str, Array | np.ndarray]
Loss = Callable[[PRNGKey, PyTree, Batch], Array]
Metrics = dict[str, Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that changes in training; no PRNG key, since every draw is a function of seed and step.

    Args:
        step: number of updates made, a scalar int32.
        params: the network's parameters.
        ema_params: their exponential moving average, which samples are drawn with.
        opt_state: the optimiser's state.
    """

    step: Any
    params: Any
    ema_params: Any
    opt_state: Any


def init_state(params: PyTree, optimizer: optax.GradientTransformation) -> TrainState:
    """Start from `params`, with their average at `params` too."""
    # Strong types, so that the first step's output has the types of its input and compiles nothing new.
    params = jax.tree.map(lambda p: jnp.asarray(p, p.dtype), params)
    # A copy of its own, because the step donates its input and a buffer can be donated but once.
    return TrainState(jnp.zeros((), jnp.int32), params, jax.tree.map(jnp.copy, params), optimizer.init(params))


def make_train_step(
    loss_fn: Loss,
    optimizer: optax.GradientTransformation,
    *,
    seed: int,
    ema_rate: float,
    ema_warmup: Callable[[float, Array], Array] = harmonic,
    accumulate: int = 1,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Make the pure function `train_step(state, batch) -> (state, metrics)`.

    Args:
        loss_fn: `loss_fn(key, params, batch) -> losses` [b].
        optimizer: an optax optimiser.
        seed: seed of every draw in training.
        ema_rate: decay of the moving average a step; 0 keeps no average.
        ema_warmup: how the decay rises to that, a function of it and the step's number: see `averaging`.
        accumulate: number of slices the batch is worked through in, with one update at the end.

    Returns:
        The step. Its metrics are the scalars `loss` and `gradient_norm` (before clipping).
    """

    def objective(params, key, batch):
        return jnp.mean(loss_fn(key, params, batch))

    def gradients(params, key, batch):
        if accumulate == 1:
            return jax.value_and_grad(objective)(params, key, batch)
        slices = jax.tree.map(lambda x: x.reshape(accumulate, x.shape[0] // accumulate, *x.shape[1:]), batch)

        def add(total, pair):
            index, part = pair
            value = jax.value_and_grad(objective)(params, jax.random.fold_in(key, index), part)
            return jax.tree.map(lambda a, b: a + b / accumulate, total, value), None

        zero = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, params))
        return jax.lax.scan(add, zero, (jnp.arange(accumulate), slices))[0]

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        loss, grads = gradients(state.params, key, batch)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        rate = ema_warmup(ema_rate, state.step)
        ema_params = jax.tree.map(lambda e, p: e + (1 - rate) * (p - e), state.ema_params, params)
        metrics = {"loss": loss, "gradient_norm": optax.tree.norm(grads)}
        return TrainState(state.step + 1, params, ema_params, opt_state), metrics

    return train_step
