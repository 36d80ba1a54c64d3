"""Classifying perturbed data: the time-dependent classifier `log p_t(y | x_t)` that guides a score, and its loss.

A classifier is a closure `classifier_fn(t, x) -> logits` [b, classes], as a score is `score_fn(t, x)`.
"""

from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sgm_jax.objectives import Times, UniformTimes
from sgm_jax.score import AbstractPrediction, as_prediction
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, Level, PerExample, PRNGKey

ClassifierFn: TypeAlias = Callable[[Level, Batch], Float[Array, "b classes"]]


class NetworkClassifier(eqx.Module):
    """The classifier of a network: see `as_classifier`. A pytree, like `NetworkScore`."""

    sde: AbstractSDE
    prediction: AbstractPrediction
    network: Callable

    def __call__(self, t: Level, x: Batch) -> Float[Array, "b classes"]:
        t = jnp.broadcast_to(jnp.asarray(t, x.dtype), x.shape[:1])
        return self.network(*self.prediction.inputs(self.sde, t, x))


def as_classifier(sde: AbstractSDE, prediction: str | AbstractPrediction, network: Callable) -> NetworkClassifier:
    """Make a classifier `classifier_fn(t, x) -> logits` [b, classes] of a network.

    Args:
        sde: the SDE the network was, or is to be, trained for.
        prediction: how the network is fed, as in `as_score`: the noise label and the scale of its input. "edm" scales
            every noise level to unit variance.
        network: `network(label, x) -> logits` with `label` [b], `x` [b, ...].

    Raises:
        ValueError: if the prediction's name is unknown.
    """
    return NetworkClassifier(sde, as_prediction(prediction), network)


def noisy_cross_entropy(
    key: PRNGKey,
    sde: AbstractSDE,
    classifier_fn: ClassifierFn,
    x0: Batch,
    label: Int[Array, " b"],
    *,
    times: Times = UniformTimes(),  # noqa: B008 (an immutable value)
) -> PerExample:
    """Compute the cross-entropy `-log p_t(label | x_t)` of each example, perturbed at a time of its own.

    Its mean is least where the classifier's probabilities are those of the labels given `x_t`, at every time.

    Args:
        key: PRNG key for times and noise.
        sde: the forward process.
        classifier_fn: `classifier_fn(t, x) -> logits` with `t` [b].
        x0: clean data [b, ...].
        label: their classes [b], from 0.
        times: a function `(key, sde, count) -> t` [count].

    Returns:
        Losses in nats [b].

    References:
        Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, appendix I.1.
    """
    time_key, noise_key = jax.random.split(key)
    t = times(time_key, sde, x0.shape[0])
    xt = sde.perturb(t, x0, jax.random.normal(noise_key, x0.shape, x0.dtype))
    log_probabilities = jax.nn.log_softmax(classifier_fn(t, xt))
    return -jnp.take_along_axis(log_probabilities, label[:, None], axis=1)[:, 0]


def noisy_accuracy(
    key: PRNGKey, sde: AbstractSDE, classifier_fn: ClassifierFn, x0: Batch, label: Int[Array, " b"], t: Level
) -> Float[Array, ""]:
    """Return the share of examples that are classified right when perturbed at time `t`.

    Args:
        key: PRNG key for the noise.
        sde: the forward process.
        classifier_fn: `classifier_fn(t, x) -> logits`.
        x0: clean data [b, ...].
        label: their classes [b], from 0.
        t: a scalar, or one time an example [b].
    """
    xt = sde.perturb(t, x0, jax.random.normal(key, x0.shape, x0.dtype))
    return jnp.mean(jnp.argmax(classifier_fn(t, xt), axis=-1) == label)
