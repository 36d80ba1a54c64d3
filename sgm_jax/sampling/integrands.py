"""What exponential solvers integrate: a form of the flow without a linear part, and polynomials integrated over it.

In each form the flow is `y' = N` for a position `y = scale(s) x / alpha` and a clock `u(s)`, with an integrand `N` made
of the network's output alone. A solver replaces `N` by a polynomial through evaluations of it, in a variable such as
`log s`, and integrates that over its step; with `N` constant every form's step is then exact.
"""

import abc
from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from numpy.typing import NDArray

from sgm_jax.sampling.schedules import level_range
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch

Scalar: TypeAlias = Float[Array, ""]
Nodes: TypeAlias = Float[Array, " n"]


class AbstractForm(eqx.Module):
    """An integrand `N`, and the step `x1 = decay x0 + weight N` that is exact where `N` is constant.

    Levels are positive, but the end `s1` of a step may be zero.
    """

    @abc.abstractmethod
    def integrand(self, s: Scalar, xbar: Batch, noise: Batch) -> Batch:
        """Return `N` at noise level `s`, given the noise estimate there."""

    @abc.abstractmethod
    def decay(self, s0: Scalar, s1: Scalar) -> Scalar:
        """Return `scale(s0) / scale(s1)`."""

    @abc.abstractmethod
    def weight(self, s0: Scalar, s1: Scalar) -> Scalar:
        """Return `(u(s1) - u(s0)) / scale(s1)`."""

    @abc.abstractmethod
    def density(self, s: Array) -> Array:
        """Return `du / d log s`, up to a constant factor."""


class NoiseForm(AbstractForm):
    """The noise estimate, integrated in `s`: `x' = noise`."""

    def integrand(self, s: Scalar, xbar: Batch, noise: Batch) -> Batch:
        return noise

    def decay(self, s0: Scalar, s1: Scalar) -> Scalar:
        return jnp.ones_like(s0)

    def weight(self, s0: Scalar, s1: Scalar) -> Scalar:
        return s1 - s0

    def density(self, s: Array) -> Array:
        return s


class DenoisedForm(AbstractForm):
    """The denoised estimate, integrated in `1 / s`: `(x / s)' = denoised`."""

    def integrand(self, s: Scalar, xbar: Batch, noise: Batch) -> Batch:
        return xbar - s.astype(xbar.dtype) * noise

    def decay(self, s0: Scalar, s1: Scalar) -> Scalar:
        return s1 / s0

    def weight(self, s0: Scalar, s1: Scalar) -> Scalar:
        return 1 - s1 / s0

    def density(self, s: Array) -> Array:
        return 1 / s


class VelocityForm(AbstractForm):
    """The velocity, integrated in `u = arctan(s / c)`: `(x cos(u) / c)' = cos(u) noise - sin(u) denoised / c`.

    It vanishes for Gaussian data of standard deviation `c` and mean zero, and stays bounded for any data.

    Args:
        data_scale: `c`, the standard deviation of the data, in data units.
    """

    data_scale: float = 1.0

    def __check_init__(self):
        if isinstance(self.data_scale, int | float) and not self.data_scale > 0:
            raise ValueError(f"data_scale must be > 0, got {self.data_scale}")

    def integrand(self, s: Scalar, xbar: Batch, noise: Batch) -> Batch:
        radius, c = jnp.hypot(s, self.data_scale), self.data_scale
        return (radius / c).astype(xbar.dtype) * noise - (s / (c * radius)).astype(xbar.dtype) * xbar

    def decay(self, s0: Scalar, s1: Scalar) -> Scalar:
        return jnp.hypot(s1, self.data_scale) / jnp.hypot(s0, self.data_scale)

    def weight(self, s0: Scalar, s1: Scalar) -> Scalar:
        # The difference of the two angles in one arctangent, exact where both are near pi / 2.
        c = self.data_scale
        return jnp.hypot(s1, c) * jnp.arctan2(c * (s1 - s0), c**2 + s0 * s1)

    def density(self, s: Array) -> Array:
        return s / (s**2 + self.data_scale**2)


class SoftLog(eqx.Module):
    """The variable `z = arcsinh(s / scale)`: `log s` well above the scale, linear in `s` below it, zero at zero.

    Polynomials in it stay good down to `s = 0`, where the noise estimate is linear in `s`; with a schedule that ends
    there and `final="none"` no evaluation is spent on a last denoising.

    Args:
        scale: where the change happens, in data units: a little under the finest detail's standard deviation.
    """

    scale: float = 0.1

    def __check_init__(self):
        if isinstance(self.scale, int | float) and not self.scale > 0:
            raise ValueError(f"scale must be > 0, got {self.scale}")

    def __call__(self, s: Array) -> Array:
        return jnp.arcsinh(s / self.scale)

    def schedule(self, sde: AbstractSDE, steps: int) -> NDArray:
        """Space the steps evenly in `z`, from the SDE's largest noise level to zero."""
        _, high = level_range(sde)
        return self.scale * np.sinh(np.linspace(np.arcsinh(high / self.scale), 0.0, steps + 1))


# Quadratures: (density, s0, s1) -> levels and weights of sum one that average over a step, both ends positive.
Quadrature: TypeAlias = Callable[[Callable[[Array], Array], Array, Array], tuple[Nodes, Nodes]]

_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(8)


def exact(density: Callable, s0: Scalar, s1: Scalar) -> tuple[Nodes, Nodes]:
    """Average over the step itself, by Gauss and Legendre's rule in `log s`, to rounding for all practical steps."""
    s = s0 * (s1 / s0) ** jnp.asarray(0.5 * (1 + _POINTS), s0.dtype)
    weights = jnp.asarray(_WEIGHTS, s0.dtype) * density(s)
    return s, weights / jnp.sum(weights)


def bh2(density: Callable, s0: Scalar, s1: Scalar) -> tuple[Nodes, Nodes]:
    """Take the middle of the step in `log s` for the whole: `B(h) = exp(h) - 1` in UniPC, and DPM-Solver's rule."""
    return jnp.sqrt(s0 * s1)[None], jnp.ones_like(s0)[None]


def bh1(density: Callable, s0: Scalar, s1: Scalar) -> tuple[Nodes, Nodes]:
    """Add half the step's length at its end's density times the rise over the step: `B(h) = h` in UniPC."""
    s, weights = exact(density, s0, s1)
    share = 0.5 * density(s1) / jnp.sum(jnp.asarray(0.5 * _WEIGHTS, s0.dtype) * density(s))
    return jnp.stack([s0, s1]), jnp.stack([1 - share, share])


def _lagrange(at: Float[Array, " q"], nodes: Nodes, valid: Bool[Array, " n"]) -> Float[Array, "q n"]:
    """Return each Lagrange polynomial of the valid nodes at each point."""
    pairs = valid[:, None] & valid & ~np.eye(len(nodes), dtype=bool)
    gaps = jnp.where(pairs, nodes[:, None] - nodes, 1)
    factors = jnp.where(pairs, (at[:, None, None] - nodes) / gaps, 1)
    return jnp.where(valid, jnp.prod(factors, axis=-1), 0)


def step_weights(
    form: AbstractForm,
    variable: Callable[[Array], Array],
    line: Quadrature,
    s0: Scalar,
    s1: Scalar,
    nodes: Nodes,
    valid: Bool[Array, " n"],
) -> Nodes:
    """Return `w` such that `x1 = decay x0 + sum w_j N_j` integrates the polynomial through the `N_j` from `s0` to `s1`.

    Args:
        form: what is integrated.
        variable: the variable `z(s)` in which the integrand is a polynomial.
        line: how a polynomial through two nodes is integrated; through more it is done exactly.
        s0: noise level at the step's start.
        s1: noise level at its end, or zero; unless `z(0)` is finite only the first node counts there.
        nodes: noise levels of the evaluations, all positive, the latest first [n].
        valid: which of them there are [n].
    """
    reaches = (s1 > 0) | jnp.isfinite(variable(jnp.zeros_like(s1)))
    valid = valid & (reaches | (np.arange(len(nodes)) == 0))
    # What lies below a ten-thousandth of the step's start weighs as much less; log s needs an end above zero.
    end, z = jnp.where(s1 > 0, s1, 1e-4 * s0), variable(nodes)

    def average(quadrature):
        s, weights = quadrature(form.density, s0, end)
        return weights @ _lagrange(variable(s), z, valid)

    return form.weight(s0, s1) * jnp.where(jnp.sum(valid) == 2, average(line), average(exact))
