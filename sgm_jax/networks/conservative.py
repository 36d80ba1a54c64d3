"""A network that is the gradient of a scalar: the score of an energy."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Conservative(nn.Module):
    """Turn a network `f(noise label, x)` into the gradient in `x` of the potential `-1/2 |x - f|**2`.

    Trained as any network, by any objective, for any prediction that is a multiple of the score; `potential` then is
    the log density up to a constant, in the same multiple.

    Attributes:
        network: the network `f`, from arrays to arrays of one shape.

    References:
        Salimans and Ho, Should EBMs Model the Energy or the Score?, 2021, eq. 6.
        Du et al., Reduce, Reuse, Recycle, 2023, section 4.
    """

    network: nn.Module

    @property
    def num_classes(self) -> int:
        """Number of classes that the network is told of, 0 for an unconditional one."""
        return getattr(self.network, "num_classes", 0)

    def potential(
        self, noise_label: Float[Array, " b"], x: Float[Array, "b ..."], *given: Any, **options: Any
    ) -> Float[Array, " b"]:
        """Return the potential of each example [b]; arguments as the network's."""
        return _potential(x, self.network(noise_label, x, *given, **options))

    @nn.compact
    def __call__(
        self, noise_label: Float[Array, " b"], x: Float[Array, "b ..."], *given: Any, **options: Any
    ) -> Float[Array, "b ..."]:
        """Return the gradient of the potential [b, ...]; arguments as the network's."""
        if self.is_initializing():
            self.network(noise_label, x, *given, **options)
        # Flax's own transformations take no module inside a module, so the inner one is made a pure function.
        network, variables = self.network.unbind()
        rngs = {"dropout": self.make_rng("dropout")} if self.has_rng("dropout") else None
        apply: Callable[[Array], Any] = lambda y: network.apply(variables, noise_label, y, *given, rngs=rngs, **options)
        return jax.grad(lambda y: jnp.sum(_potential(y, apply(y))))(x)


def _potential(x: Float[Array, "b ..."], output: Float[Array, "b ..."]) -> Float[Array, " b"]:
    return -0.5 * jnp.sum(jnp.square((x - output).reshape(x.shape[0], -1)), axis=1)
