"""Operators of any function, and chains of operators."""

from collections.abc import Callable

import equinox as eqx
from jaxtyping import Array

from sgm_jax.inverse.operator import AbstractLinear, AbstractOperator, Shape


class Linear(AbstractLinear):
    """Any linear function of one example; its adjoint is found by transposition.

    Args:
        function: linear, without a constant, and traceable by JAX; `check_adjoint` tells. An `equinox.Module` may be
            given to keep arrays among the operator's leaves; operators of plain functions cross `eqx.filter_jit`.
        shape: shape of one example.
        noise_std: deviation of the noise.
    """

    function: Callable[[Array], Array]
    shape: Shape = eqx.field(static=True)
    noise_std: Array | float = 0.0

    def forward(self, x: Array) -> Array:
        return self.function(x)


class NonLinear(AbstractOperator):
    """Any differentiable function of one example.

    Args:
        function: traceable by JAX.
        shape: shape of one example.
        noise_std: deviation of the noise.
    """

    function: Callable[[Array], Array]
    shape: Shape = eqx.field(static=True)
    noise_std: Array | float = 0.0

    def forward(self, x: Array) -> Array:
        return self.function(x)


class Composition(AbstractLinear):
    """Two linear operators, one after the other: `outer.forward(inner.forward(x))`.

    Args:
        outer: acts on what `inner` measures.
        inner: acts on the example.
        noise_std: deviation of the noise; that of `outer` and `inner` is ignored.
    """

    outer: AbstractLinear
    inner: AbstractLinear
    noise_std: Array | float = 0.0

    def __check_init__(self):
        if self.outer.shape != self.inner.measured.shape:
            raise ValueError(
                f"outer must act on what inner measures, {self.inner.measured.shape}, got shape {self.outer.shape}"
            )

    @property
    def shape(self) -> Shape:
        return self.inner.shape

    def forward(self, x: Array) -> Array:
        return self.outer.forward(self.inner.forward(x))

    def adjoint(self, y: Array) -> Array:
        return self.inner.adjoint(self.outer.adjoint(y))

    def record(self, y: Array) -> Array:
        return self.outer.record(y)
