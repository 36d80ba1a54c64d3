"""Guidance: score functions that are steered by a condition more, or less, than they were trained to be."""

import equinox as eqx
import jax.numpy as jnp

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
