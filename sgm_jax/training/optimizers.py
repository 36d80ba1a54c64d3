"""Optimisers and learning-rate schedules, all of them optax's, by name."""

import optax

OPTIMIZERS = {
    "adam": optax.adam,
    "adamw": optax.adamw,
    "lion": optax.lion,
    "muon": optax.contrib.muon,
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


def with_clipping(optimizer: optax.GradientTransformation, clip: float | None) -> optax.GradientTransformation:
    """Clip the gradient's global norm at `clip` before `optimizer` sees it; None leaves it as it is."""
    return optimizer if clip is None else optax.chain(optax.clip_by_global_norm(clip), optimizer)
