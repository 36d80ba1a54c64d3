"""Optimisers and learning-rate schedules, all of them optax's, by name."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree


def muon(
    learning_rate: optax.Schedule,
    *,
    b1: float = 0.95,
    b2: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    adam_ratio: float = 0.15,
) -> optax.GradientTransformation:
    """Muon on the kernels of hidden layers, Adam on all else: embeddings, norms, biases, first and last layers.

    Args:
        learning_rate: Muon's, a step to the rate.
        b1: Muon's momentum.
        b2: Adam's second decay.
        eps: of both.
        weight_decay: Muon's.
        adam_ratio: Adam's learning rate in units of Muon's.

    References:
        Jordan et al., Muon: An Optimizer for Hidden Layers in Neural Networks, 2024.
    """
    return optax.contrib.muon(
        learning_rate,
        beta=b1,
        adam_b2=b2,
        eps=eps,
        weight_decay=weight_decay,
        adam_learning_rate=lambda step: adam_ratio * learning_rate(step),
        muon_weight_dimension_numbers=_matrices,
    )


def _matrices(params: Any) -> Any:
    """Say of each parameter as which matrix Muon should orthogonalise it; None leaves it to Adam."""
    outer = ("stem", "head", "embedding", "classes")

    def matrix(path, leaf):
        if leaf.ndim < 2 or any(getattr(entry, "key", None) in outer for entry in path):
            return None
        return optax.contrib.MuonDimensionNumbers(tuple(range(leaf.ndim - 1)), leaf.ndim - 1)

    return jax.tree_util.tree_map_with_path(matrix, params)


OPTIMIZERS = {
    "adam": optax.adam,
    "adamw": optax.adamw,
    "lion": optax.lion,
    "muon": muon,
    "radam": optax.radam,
    "sgd": optax.sgd,
}


def constant(peak: float, warmup: int, steps: int) -> optax.Schedule:
    """Rise linearly over `warmup` steps, then stay at `peak`."""
    return optax.linear_schedule(0.0 if warmup else peak, peak, max(warmup, 1))


def cosine(peak: float, warmup: int, steps: int) -> optax.Schedule:
    """Rise linearly over `warmup` steps, then fall to zero along a half cosine."""
    return optax.warmup_cosine_decay_schedule(0.0 if warmup else peak, peak, warmup, max(steps, warmup + 1))


def linear(peak: float, warmup: int, steps: int) -> optax.Schedule:
    """Rise linearly over `warmup` steps, then fall linearly to zero."""
    rise = optax.linear_schedule(0.0 if warmup else peak, peak, max(warmup, 1))
    return optax.join_schedules([rise, optax.linear_schedule(peak, 0.0, max(steps - warmup, 1))], [warmup])


SCHEDULES = {"constant": constant, "cosine": cosine, "linear": linear}


def join(tree: PyTree) -> PyTree:
    """Return `tree` with its vectors (biases, scales, shifts) as one: `{"others": ..., "vectors": [n]}`."""
    leaves, structure = jax.tree.flatten(tree)
    others = structure.unflatten([None if leaf.ndim == 1 else leaf for leaf in leaves])
    vectors = [leaf for leaf in leaves if leaf.ndim == 1]
    return {"others": others, "vectors": jnp.concatenate(vectors) if vectors else None}


def split(joined: PyTree, like: PyTree) -> PyTree:
    """Take apart what `join` made of a tree of the shapes of `like`."""
    leaves, structure = jax.tree.flatten(like)
    ends = np.cumsum([leaf.size for leaf in leaves if leaf.ndim == 1])
    others = iter(jax.tree.leaves(joined["others"]))
    vectors = iter(jnp.split(joined["vectors"], ends[:-1]) if len(ends) else ())
    return structure.unflatten([next(vectors if leaf.ndim == 1 else others) for leaf in leaves])


def joined(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """Return an optimizer that does to each number what `optimizer` does, and sees all vectors as one.

    Two thirds of a U-Net's parameters are vectors of a few hundred numbers. One operation for all of them in place of
    one for each: a smaller program, which compiles faster, and fewer kernels.

    Args:
        optimizer: any that does the same to all elements of a vector, whatever else is in it.
    """
    optimizer = optax.with_extra_args_support(optimizer)

    def update(updates, state, params=None, **extra):
        given = None if params is None else join(params)
        changes, state = optimizer.update(join(updates), state, given, **extra)
        return split(changes, updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optimizer.init(join(params)), update)
