"""A multistep solver whose coefficients are a table: what fitting works on."""

from typing import ClassVar

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from sgm_jax.sampling.abstract import AbstractFlowSolver


class TabulatedMultistep(AbstractFlowSolver):
    """An explicit multistep solver with coefficients of its own in every step, one evaluation a step.

    Step `n` is `x_{n+1} = x_n + (s_{n+1} - s_n) sum_j weights[n, j] noise_{n-j}` in canonical coordinates. Every
    explicit method of one evaluation a step that moves with a shift of the data is of this form, if the table is as
    wide as it is long: nothing ties the levels at which the network is asked to the noise in the state. The rows of a
    consistent method sum to one. Give a solve at most as many steps as the table has rows.

    Args:
        weights: the table [steps, memory], the newest evaluation first, such as `adams_bashforth` makes; entries
            before the first step are not used. A leaf of the pytree: it can be differentiated and fitted.

    References:
        Shaul et al., Bespoke Non-Stationary Solvers for Fast Sampling of Diffusion and Flow Models, 2024, section 3.
    """

    weights: Float[Array, "steps memory"] = eqx.field(converter=jnp.asarray)
    evaluations_per_step: ClassVar[int] = 1

    def order(self, terms):
        return 1

    def init(self, terms, t0, t1, y0, args):
        # The step's number and the past evaluations, newest first; zeros where there is no past yet.
        return jnp.zeros((), jnp.int32), jnp.zeros((self.weights.shape[1], *y0.shape), y0.dtype)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        step, past = solver_state
        past = jnp.concatenate([terms.vf(t0, y0, args)[None], past[:-1]])
        y1 = y0 + ((jnp.abs(t1) - jnp.abs(t0)) * jnp.tensordot(self.weights[step], past, 1)).astype(y0.dtype)
        # Indexing past the end would silently use the last row again.
        result = diffrax.RESULTS.where(
            step < len(self.weights), diffrax.RESULTS.successful, diffrax.RESULTS.max_steps_reached
        )
        return y1, None, dict(y0=y0, y1=y1), (step + 1, past), result


def adams_bashforth(s: NDArray, *, order: int = 2, memory: int | None = None) -> NDArray:
    """Return the weights of the exponential Adams-Bashforth method on the noise estimate over the levels `s`.

    The noise estimate is extrapolated by the polynomial in `log s` through the last `order` evaluations (fewer in
    the first steps, whose error lets the whole converge at second order at most), and that integrated exactly over
    the step. A step to `s = 0` is of first order.

    Args:
        s: decreasing canonical noise levels [steps + 1].
        order: number of evaluations a step uses.
        memory: number of columns, those beyond `order` zero; `order` unless given.

    Returns:
        `weights` [steps, memory] in float64, for `TabulatedMultistep`.

    Raises:
        ValueError: if `order` is not between 1 and `memory`.

    References:
        Zhang and Chen, Fast Sampling of Diffusion Models with Exponential Integrator, 2022, eq. 14, 15.
    """
    memory = order if memory is None else memory
    if not 1 <= order <= memory:
        raise ValueError(f"order must be between 1 and memory={memory}, got {order}")
    # Gauss-Legendre nodes and masses on [0, 1]; the integrand is a polynomial times an exponential.
    nodes, masses = np.polynomial.legendre.leggauss(32)
    nodes, masses = 0.5 * (nodes + 1), 0.5 * masses
    weights = np.zeros((len(s) - 1, memory))
    for n, (now, then) in enumerate(zip(s[:-1], s[1:], strict=True)):
        count = min(n + 1, order) if then > 0 else 1
        if count == 1:
            weights[n, 0] = 1
            continue
        # In units of the step in log s; the weights are exact for the powers 0 to count - 1 of it.
        h = np.log(then / now)
        past = np.log(s[n - count + 1 : n + 1][::-1] / now) / h
        density = h * now * np.exp(h * nodes) / (then - now)
        moments = (masses * density) @ np.vander(nodes, count, increasing=True)
        weights[n, :count] = np.linalg.solve(np.vander(past, increasing=True).T, moments)
    return weights
