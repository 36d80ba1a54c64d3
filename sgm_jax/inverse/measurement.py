"""Measurements of a batch, and the operators that made them: one for all, or one each."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from sgm_jax.inverse.operator import AbstractLinear, AbstractOperator


class Stacked(eqx.Module):
    """Operators of one kind, one a measurement: see `stack`.

    Args:
        operators: an operator whose arrays have a first axis [b] more than one example's.
    """

    operators: AbstractOperator


def stack(operators: Sequence[AbstractOperator]) -> Stacked:
    """Stack operators that differ in numbers alone, such as masks of one shape, to give each measurement its own.

    Raises:
        ValueError: if there are none, or they differ in kind or shape.
    """
    if not operators or any(jax.tree.structure(o) != jax.tree.structure(operators[0]) for o in operators):
        raise ValueError(
            f"operators must be of one kind and shape, got {', '.join(type(o).__name__ for o in operators) or 'none'}"
        )
    numbers = lambda leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves])
    return Stacked(
        jax.tree.map(lambda *leaves: numbers(leaves) if eqx.is_array_like(leaves[0]) else leaves[0], *operators)
    )


class Measurement(eqx.Module):
    """What is known of a batch: what was measured, and how.

    Args:
        operator: one for all, or `Stacked`.
        y: measurements [b, *measured].
    """

    operator: AbstractOperator | Stacked
    y: Array

    def map(self, function: Callable, *batches: Array):
        """Map `function(operator, y, *examples)` over examples.

        Args:
            function: acts on one example.
            *batches: arrays [n b, ...]: `n` draws of the whole batch, one after another.

        Returns:
            What the function returns, each array with the first axis [n b].
        """
        stacked = isinstance(self.operator, Stacked)
        operator = self.operator.operators if isinstance(self.operator, Stacked) else self.operator
        axes = (eqx.if_array(0) if stacked else None, 0)
        count = len(self.y)
        draws = [batch.reshape(len(batch) // count, count, *batch.shape[1:]) for batch in batches]
        of_batch = lambda *draw: eqx.filter_vmap(function, in_axes=(*axes, *(0 for _ in draw)))(operator, self.y, *draw)
        mapped = jax.vmap(of_batch)(*draws) if draws else jax.tree.map(lambda a: a[None], of_batch())
        return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), mapped)


def noise_variance(operator: AbstractOperator) -> Array:
    """Return the variance of a measurement's noise in each real number: half of that in a complex one."""
    variance = jnp.square(operator.noise_std)
    return variance / 2 if jnp.issubdtype(operator.measured.dtype, jnp.complexfloating) else variance


def explain(operator: AbstractLinear, y: Array, x: Array) -> Array:
    """Return the example nearest to `x` that a measurement without noise allows; `x` itself if there is noise."""
    allowed = operator.pseudo_inverse(y) + operator.project_null(x)
    return jnp.where(jnp.asarray(operator.noise_std) == 0, allowed, x)
