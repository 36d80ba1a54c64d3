"""Guidance: score functions that are steered by a condition more, or less, than they were trained to be."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, Level, ScoreFn, expand


class ClassifierFree(eqx.Module):
    """The score function of classifier-free guidance: see `classifier_free`."""

    score_cond: ScoreFn
    score_uncond: ScoreFn
    scale: Level

    def __call__(self, t: Level, x: Batch) -> Batch:
        unconditional = self.score_uncond(t, x)
        return unconditional + expand(self.scale, x) * (self.score_cond(t, x) - unconditional)


def classifier_free(score_cond: ScoreFn, score_uncond: ScoreFn, scale: Level) -> ClassifierFree:
    """Make the score function `score_uncond + scale (score_cond - score_uncond)` [b, ...].

    It is the score of `p_t(x) (p_t(x | y) / p_t(x))^scale`, up to its normalisation. The result is a pytree: with score
    functions that are pytrees too, such as `NetworkScore`, compiled samplers are found again when labels, parameters or
    the scale change.

    Args:
        score_cond: `score_fn(t, x)` given the condition.
        score_uncond: `score_fn(t, x)` without it.
        scale: one number, or one an example [b]: 0 for the unconditional, 1 for the conditional score, more for
            samples that are more typical of the condition and less diverse (`1 + w` in the paper).

    References:
        Ho and Salimans, Classifier-Free Diffusion Guidance, 2022, eq. 6.
    """
    return ClassifierFree(score_cond, score_uncond, jnp.asarray(scale, jnp.result_type(float)))


class PairedClassifierFree(eqx.Module):
    """The score function of classifier-free guidance in one evaluation: see `classifier_free_paired`."""

    score_fn: ScoreFn
    scale: Level

    def __call__(self, t: Level, x: Batch) -> Batch:
        t = jnp.broadcast_to(jnp.asarray(t, x.dtype), x.shape[:1])
        conditional, unconditional = jnp.split(self.score_fn(jnp.tile(t, 2), jnp.concatenate([x, x])), 2)
        return unconditional + expand(self.scale, x) * (conditional - unconditional)


def classifier_free_paired(score_fn: ScoreFn, scale: Level) -> PairedClassifierFree:
    """Make the score function of `classifier_free` [b, ...] with both its scores in one evaluation.

    Args:
        score_fn: `score_fn(t, x)` of a batch twice as long [2 b, ...]: given the condition in its first half, without
            it in its second.
        scale: as in `classifier_free`.
    """
    return PairedClassifierFree(score_fn, jnp.asarray(scale, jnp.result_type(float)))


def autoguidance(score_fn: ScoreFn, score_worse: ScoreFn, scale: Level) -> ClassifierFree:
    """Make the score function `score_worse + scale (score_fn - score_worse)` [b, ...]: away from a worse model.

    Both know the same condition, or none: what grows is the quality of samples, not how typical of a class they are.

    Args:
        score_fn: `score_fn(t, x)` of the model to sample.
        score_worse: that of one trained less, or of less capacity, on the same data.
        scale: one number, or one an example [b]: 1 for `score_fn` itself, more to move away from what the worse model
            gets wrong.

    References:
        Karras et al., Guiding a Diffusion Model with a Bad Version of Itself, 2024, section 3.
    """
    return classifier_free(score_fn, score_worse, scale)


class Within(eqx.Module):
    """The score function of guidance in an interval: see `within`."""

    sde: AbstractSDE
    inside: ScoreFn
    outside: ScoreFn
    low: Level
    high: Level

    def __call__(self, t: Level, x: Batch) -> Batch:
        s = self.sde.s(t)
        guided = (self.low < s) & (s <= self.high)
        if guided.ndim:
            return jnp.where(expand(guided.astype(x.dtype), x) > 0, self.inside(t, x), self.outside(t, x))
        return jax.lax.cond(guided, lambda: self.inside(t, x), lambda: self.outside(t, x))


def within(sde: AbstractSDE, inside: ScoreFn, outside: ScoreFn, low: float, high: float) -> Within:
    """Make a score function [b, ...] that is guided at the noise levels in `(low, high]` alone.

    Guidance does harm at high noise levels and nothing at low ones, where only one of the two is evaluated.

    Args:
        sde: the forward SDE.
        inside: the guided `score_fn(t, x)`, such as `classifier_free(...)`.
        outside: that of the other levels: the conditional one.
        low: canonical noise level, in data units.
        high: canonical noise level, in data units.

    Raises:
        ValueError: unless `low < high`.

    References:
        Kynkaanniemi et al., Applying Guidance in a Limited Interval Improves Sample and Distribution Quality in
        Diffusion Models, 2024, section 3.
    """
    if not low < high:
        raise ValueError(f"low must be less than high, got low={low}, high={high}")
    bounds = (jnp.asarray(value, jnp.result_type(float)) for value in (low, high))
    return Within(sde, inside, outside, *bounds)


class ClassifierGuided(eqx.Module):
    """The score function of classifier guidance: see `classifier`."""

    score_fn: ScoreFn
    classifier_fn: Callable[[Level, Batch], Array]
    label: Int[Array, "..."]
    scale: Level

    def __call__(self, t: Level, x: Batch) -> Batch:
        label = jnp.broadcast_to(self.label, x.shape[:1])[:, None]

        def log_probability(x):
            return jnp.sum(jnp.take_along_axis(jax.nn.log_softmax(self.classifier_fn(t, x)), label, axis=1))

        return self.score_fn(t, x) + expand(self.scale, x) * jax.grad(log_probability)(x)


def classifier(
    score_fn: ScoreFn,
    classifier_fn: Callable[[Level, Batch], Array],
    label: Int[Array, "..."] | int,
    scale: Level = 1.0,
) -> ClassifierGuided:
    """Make the score function `score + scale grad log p_t(label | x)` [b, ...]; at scale 1 the score given the label.

    Args:
        score_fn: `score_fn(t, x)` of all classes together, or already of the label's.
        classifier_fn: `classifier_fn(t, x) -> logits` [b, classes] of perturbed data, such as
            `classification.as_classifier(...)`.
        label: one class, or one an example [b].
        scale: one number, or one an example [b].

    References:
        Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, eq. 14.
        Dhariwal and Nichol, Diffusion Models Beat GANs on Image Synthesis, 2021, section 4.
    """
    return ClassifierGuided(score_fn, classifier_fn, jnp.asarray(label), jnp.asarray(scale, jnp.result_type(float)))
