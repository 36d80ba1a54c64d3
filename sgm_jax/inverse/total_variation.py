"""Reconstruction with little total variation: what methods with a learnt prior must beat."""

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

from sgm_jax.inverse.operator import AbstractLinear


def total_variation(
    operator: AbstractLinear, y: Array, weight: Array | float, *, steps: int = 300
) -> Float[Array, "h w c"]:
    """Minimise `|A x - y|^2 / 2 + weight TV(x)` by Chambolle's and Pock's primal-dual method.

    `TV` sums the length of the gradient over pixels; the gradients of all channels count as one vector.

    Args:
        operator: a linear measurement of images [h, w, c].
        y: one measurement.
        weight: of the total variation, in units of `A A^T x`; larger is smoother.
        steps: steps of the method, each one application of the operator and its adjoint.

    Raises:
        ValueError: if `weight` is not above 0.

    References:
        Chambolle, Pock, A First-Order Primal-Dual Algorithm for Convex Problems with Applications to Imaging, 2011,
        algorithm 1; Sidky et al., Convex Optimization Problem Prototyping for Image Reconstruction in Computed
        Tomography with the Chambolle-Pock Algorithm, 2012.
    """
    if not isinstance(weight, Tracer) and not weight > 0:
        raise ValueError(f"weight must be above 0, got {weight}")
    y = operator.record(y)
    norm = operator_norm(operator)
    # Both dual steps fill half of what convergence allows, tau sum_i sigma_i |K_i|^2 <= 1; |gradient|^2 <= 8.
    tau = 1 / norm
    sigma_data, sigma_gradient = 1 / (2 * tau * norm**2), 1 / (16 * tau)

    def step(carry, _):
        x, leading, data, slope = carry
        data = (data + sigma_data * (operator.forward(leading) - y)) / (1 + sigma_data)
        slope = slope + sigma_gradient * _gradient(leading)
        length = jnp.sqrt(jnp.sum(slope**2, (0, -1), keepdims=True))
        slope = slope / jnp.maximum(1, length / weight)
        new = x - tau * (operator.adjoint(data) - _divergence(slope))
        return (new, 2 * new - x, data, slope), None

    x = jnp.zeros(operator.shape)
    (x, *_), _ = jax.lax.scan(step, (x, x, jnp.zeros_like(y), _gradient(x)), length=steps)
    return x


def operator_norm(operator: AbstractLinear, *, steps: int = 30) -> Array:
    """Return the largest singular value of a linear operator, by power iteration, from below."""
    step = lambda _, x: operator.adjoint(operator.forward(x / jnp.linalg.norm(x.ravel())))
    x = jax.lax.fori_loop(0, steps, step, jax.random.normal(jax.random.key(0), operator.shape))
    return jnp.sqrt(jnp.linalg.norm(x.ravel()))


def _gradient(x: Float[Array, "h w c"]) -> Float[Array, "2 h w c"]:
    """Return differences to the next row and column, 0 at the last."""
    down, across = (jnp.diff(x, axis=axis, append=x[-1:] if axis == 0 else x[:, -1:]) for axis in (0, 1))
    return jnp.stack([down, across])


def _divergence(slope: Float[Array, "2 h w c"]) -> Float[Array, "h w c"]:
    """Return the negative adjoint of `_gradient`."""
    example = jax.ShapeDtypeStruct(slope.shape[1:], slope.dtype)
    return -jax.linear_transpose(_gradient, example)(slope)[0]
