"""The training state, and the pure step from one state to the next."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array, PyTree

from sgm_jax.partial_batch import part_key
from sgm_jax.shapes import PRNGKey
from sgm_jax.training.averaging import harmonic

Batch = Mapping[str, Array | np.ndarray]
Loss = Callable[[PRNGKey, PyTree, Batch], Array]
Metrics = dict[str, Array]
# (state, batch) -> (state, metrics), as `make_train_step` makes it.
TrainStep = Callable[..., tuple[Any, Metrics]]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that changes in training; no PRNG key, since every draw is a function of seed and step.

    Args:
        step: number of updates made, a scalar int32.
        params: the network's parameters.
        ema_params: their exponential moving average, which samples are drawn with.
        opt_state: the optimiser's state.
        profiles: averages of other lengths, one for each of `posthoc.PowerProfile`s, for averages chosen afterwards.
    """

    step: Any
    params: Any
    ema_params: Any
    opt_state: Any
    profiles: tuple[Any, ...] = ()


def init_state(params: PyTree, optimizer: optax.GradientTransformation, profiles: int = 0) -> TrainState:
    """Start from `params`, with their average, and as many more as `profiles`, at `params` too."""
    # Strong types, so that the first step's output has the types of its input and compiles nothing new.
    params = jax.tree.map(lambda p: jnp.asarray(p, p.dtype), params)
    # A copy of its own, because the step donates its input and a buffer can be donated but once.
    copy = lambda: jax.tree.map(jnp.copy, params)
    more = tuple(copy() for _ in range(profiles))
    return TrainState(jnp.zeros((), jnp.int32), params, copy(), optimizer.init(params), more)


def make_train_step(
    loss_fn: Loss,
    optimizer: optax.GradientTransformation,
    *,
    seed: int,
    ema_rate: float,
    ema_warmup: Callable[[float, Array], Array] = harmonic,
    clip: float | None = None,
    accumulate: int = 1,
    profiles: Sequence[Callable[[Array], Array]] = (),
    given: Callable[[TrainState], dict[str, Any]] = lambda state: {},
) -> TrainStep:
    """Make the pure function `train_step(state, batch) -> (state, metrics)`.

    A step whose loss or gradient is not finite counts, but changes nothing else. What is drawn for an example is a
    function of seed, step and the example's place in the batch, in however many parts the batch is worked through.

    Args:
        loss_fn: `loss_fn(key, params, batch) -> losses` [b]; what it draws has the batch as its leading axis.
        optimizer: an optax optimiser.
        seed: seed of every draw in training.
        ema_rate: decay of the moving average a step; 0 keeps no average.
        ema_warmup: how the decay rises to that, a function of it and the step's number: see `averaging`.
        clip: largest global norm of the gradient that the optimizer is given, a longer one is shortened to it.
        accumulate: number of slices the batch is worked through in, with one update at the end.
        profiles: decays `step -> rate` of the state's further averages, see `posthoc`.
        given: what of the state the loss is given besides, by name, such as the step; no gradient goes through it.

    Returns:
        The step. Its metrics are the scalars `loss` and `gradient_norm` (before clipping). It takes two more arguments
        by name: `axis_name`, where it is mapped over an axis, each device with its part of the batch; and `gather`, a
        function that the parameters go through on their way to the loss, for those that devices share.

    Raises:
        ValueError: if `clip` is not positive.
    """
    if clip is not None and not clip > 0:
        raise ValueError(f"clip must be positive, or None for none, got {clip}")

    def objective(params, key, batch, rest):
        return jnp.mean(loss_fn(key, params, batch, **rest))

    def in_parts(gradients, params, key, batch, axis_name):
        size = jax.tree.leaves(batch)[0].shape[0]
        device, devices = (0, 1) if axis_name is None else (jax.lax.axis_index(axis_name), jax.lax.axis_size(axis_name))
        # Every `accumulate`-th example, so that each slice is spread over the devices as the batch is.
        slices = jax.tree.map(lambda x: jnp.swapaxes(x.reshape(-1, accumulate, *x.shape[1:]), 0, 1), batch)

        def add(total, pair):
            index, part = pair
            part_of_key = part_key(key, device * size + index, accumulate, devices * size)
            value = gradients(params, part_of_key, part)
            return jax.tree.map(lambda a, b: a + b / accumulate, total, value), None

        zero = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, params))
        mean = jax.lax.scan(add, zero, (jnp.arange(accumulate), slices))[0]
        return mean if axis_name is None else jax.lax.pmean(mean, axis_name)

    def train_step(state: TrainState, batch: Batch, *, axis_name: str | None = None, gather: Callable = lambda p: p):
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        rest = given(dataclasses.replace(state, profiles=tuple(gather(profile) for profile in state.profiles)))
        gradients = jax.value_and_grad(lambda params, key, batch: objective(gather(params), key, batch, rest))
        if accumulate == 1 and axis_name is None:
            loss, grads = gradients(state.params, key, batch)
        else:
            loss, grads = in_parts(gradients, state.params, key, batch, axis_name)
        grads = jax.lax.platform_dependent(grads, cuda=in_order, default=lambda grads: grads)
        norm = global_norm(grads)
        rates = (ema_warmup(ema_rate, state.step), *(profile(state.step) for profile in profiles))

        @jax.jit  # which traces it once for both branches of `update_if`
        def update(old, grads, norm, rates):
            params, averages, opt_state = old
            if clip is not None:
                # In the form of `optax.clip_by_global_norm`; on GPUs, XLA transposes arrays more often for a product.
                grads = jax.tree.map(lambda g: jnp.where(norm < clip, g, g / norm * clip), grads)
            updates, opt_state = optimizer.update(grads, opt_state, params)
            params = optax.apply_updates(params, updates)
            return params, tuple(average(a, params, rate) for a, rate in zip(averages, rates, strict=True)), opt_state

        old = (state.params, (state.ema_params, *state.profiles), state.opt_state)
        good = jnp.isfinite(loss) & jnp.isfinite(norm)
        params, averages, opt_state = update_if(good, update, old, grads, norm, rates)
        metrics = {"loss": loss, "gradient_norm": norm}
        return TrainState(state.step + 1, params, averages[0], opt_state, averages[1:]), metrics

    return train_step


def in_order(gradients: PyTree) -> PyTree:
    """Return arrays with their last axis contiguous in memory, as all arrays of a state have it.

    cuDNN gives kernels' gradients in an order of its own, and XLA would bring the optimizer's state into that order for
    the update, and back: more kernels, and the donated state would be copied.
    """
    return jax.tree.map(lambda g: with_layout_constraint(g, Layout(tuple(range(g.ndim)))), gradients)


def global_norm(gradients: PyTree) -> Array:
    """Return the norm of all numbers, with the vectors (biases, scales), most of a network's arrays, taken as one."""
    leaves = jax.tree.leaves(gradients)
    vectors = [leaf for leaf in leaves if leaf.ndim == 1]
    others = [leaf for leaf in leaves if leaf.ndim != 1]
    return optax.tree.norm([*others, jnp.concatenate(vectors)] if vectors else others)


def average(mean: PyTree, params: PyTree, rate: Array) -> PyTree:
    """Return `rate mean + (1 - rate) params`."""
    return jax.tree.map(lambda m, p: m + (1 - rate) * (p - m), mean, params)


def update_if(good: Array, update: Callable[..., PyTree], old: PyTree, *given: Any) -> PyTree:
    """Return `update(old, *given)` where `good`, a scalar, and `old` otherwise.

    On CPUs it is a branch: where the optimizer's new state is selected, it is not written down before it is used, so
    that XLA computes it once more for the parameters, and copies the old one to be able to.
    """

    def branch(good, old, *given):
        return jax.lax.cond(good, update, lambda old, *given: old, old, *given)

    def select(good, old, *given):
        return jax.tree.map(lambda new, old: jnp.where(good, new, old), update(old, *given), old)

    return jax.lax.platform_dependent(good, old, *given, cpu=branch, default=select)
