"""Optimisers and learning-rate schedules, all of them optax's, by name."""

from typing import Any

import jax
import optax


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
