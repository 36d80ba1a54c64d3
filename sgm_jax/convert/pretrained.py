"""A trained network with all that is needed to use it."""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array, Float, Num, PyTree

from sgm_jax.score import AbstractPrediction, NetworkScore
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A trained network, its parameters, and what they mean.

    Attributes:
        network: the flax module, called as `(noise label [b], x [b, ...], label=, augment=)`.
        params: its parameters.
        sde: the SDE it was trained for.
        prediction: what it predicts, and how its noise label and input follow from `(t, x)`.
        config: the flags it was made from, as plain values.
    """

    network: nn.Module
    params: PyTree
    sde: AbstractSDE
    prediction: AbstractPrediction
    config: dict[str, Any]

    def apply(
        self,
        labels: Num[Array, " b"],
        x: Batch,
        class_labels: Num[Array, "b ..."] | None = None,
        augment_labels: Float[Array, "b m"] | None = None,
    ) -> Batch:
        """Return the network's raw output [b, ...] for the labels that the network is fed.

        Args:
            labels: noise labels [b], in the network's own measure.
            x: input as the network is fed it, [b, ...].
            class_labels: classes [b], or their one-hot vectors [b, k].
            augment_labels: what was done to the images [b, m], for networks trained with it.
        """
        given = {"label": class_labels, "augment": augment_labels}
        given = {name: value for name, value in given.items() if value is not None}
        return self.network.apply({"params": self.params}, labels, x, **given)

    @functools.cached_property
    def score_fn(self) -> NetworkScore:
        """The score function `score_fn(t, x) -> score` [b, ...], a pytree whose leaves are the parameters."""
        return self.conditional()

    def conditional(self, class_labels: Num[Array, "b ..."] | None = None) -> NetworkScore:
        """Return the score function given classes [b] (or one-hot vectors [b, k]); None for no class."""
        given = {} if class_labels is None else {"label": class_labels}
        return NetworkScore(self.sde, self.prediction, jax.tree_util.Partial(self._network, self.params, **given))

    @functools.cached_property
    def _network(self):
        # One and the same function object each time, so that compiled samplers are found again.
        def network(params, labels, x, **given):
            return self.network.apply({"params": params}, labels, x, **given)

        return network
