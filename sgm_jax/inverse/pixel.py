"""Measurements of single pixels, and of rows and columns: masks, grey images, and down-sampling."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgm_jax.inverse.operator import AbstractSpectral, Shape

NEGLIGIBLE = 1e-6
# Accelerators multiply matrices in half precision unless told otherwise.
_product = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


class Mask(AbstractSpectral):
    """Known pixels (inpainting): `y = mask * x`, of the example's shape and 0 where hidden.

    Hidden entries of a measurement are ignored, even if NaN.

    Args:
        mask: 1 where known, 0 elsewhere; broadcasts against the example, as the `[h, w, 1]` of `MASKS` do.
        shape: shape of one example.
        noise_std: deviation of the noise in known pixels.
    """

    mask: Array
    shape: Shape = eqx.field(static=True)
    noise_std: Array | float = 0.0

    def __check_init__(self):
        aligned = zip(self.mask.shape[::-1], self.shape[::-1], strict=False)
        if self.mask.ndim > len(self.shape) or any(m not in (1, n) for m, n in aligned):
            raise ValueError(f"mask must broadcast against shape {self.shape}, got {self.mask.shape}")

    @property
    def gains(self) -> Array:
        return jnp.broadcast_to(self.mask > 0, self.shape).astype(jnp.result_type(float))

    def analyse(self, x: Array) -> Array:
        return x

    def synthesise(self, coefficients: Array) -> Array:
        return coefficients

    def place(self, y: Array) -> Array:
        return jnp.where(self.mask > 0, y, 0)

    def read(self, coefficients: Array) -> Array:
        return jnp.where(self.mask > 0, coefficients, 0)

    def record(self, y: Array) -> Array:
        return jnp.where(self.mask > 0, y, 0)


class Grey(AbstractSpectral):
    """Weighted sum of the channels (colourisation): [h, w, c] to [h, w, 1].

    Args:
        shape: shape of one example, [h, w, c].
        weights: weight of each channel [c]; their mean unless given. `LUMA` is the standard for RGB.
        noise_std: deviation of the noise.
    """

    shape: Shape = eqx.field(static=True)
    weights: Float[Array, " c"]
    noise_std: Array | float

    def __init__(self, shape: Shape, weights: Array | None = None, noise_std: Array | float = 0.0):
        self.shape = shape
        self.weights = jnp.full(shape[-1], 1 / shape[-1]) if weights is None else jnp.asarray(weights, float)
        self.noise_std = noise_std

    def __check_init__(self):
        if self.weights.shape != self.shape[-1:]:
            raise ValueError(f"weights must be one a channel ({self.shape[-1]}), got shape {self.weights.shape}")

    @property
    def gains(self) -> Array:
        return jnp.zeros(self.shape).at[..., 0].set(jnp.linalg.norm(self.weights))

    def analyse(self, x: Array) -> Array:
        # A Householder reflection, symmetric: it takes the weights' direction to the first axis.
        first = jnp.zeros_like(self.weights).at[0].set(1)
        unit = self.weights / jnp.linalg.norm(self.weights)
        sign = jnp.where(unit[0] > 0, -1, 1)
        normal = unit - sign * first
        reflected = x - 2 * jnp.sum(x * normal, -1, keepdims=True) * normal / jnp.sum(normal**2)
        return sign * reflected

    def synthesise(self, coefficients: Array) -> Array:
        return self.analyse(coefficients)

    def place(self, y: Array) -> Array:
        return jnp.zeros(self.shape, y.dtype).at[..., :1].set(y)

    def read(self, coefficients: Array) -> Array:
        return coefficients[..., :1]


LUMA = (0.299, 0.587, 0.114)


class Separable(AbstractSpectral):
    """One matrix along the rows' axis and one along the columns': `y = rows x columns^T` for every channel.

    Down-sampling and separable blurs with any boundary are of this kind; their singular vectors are products.
    Singular values below 1e-6 of the largest count as 0.

    Args:
        rows: [p, h].
        columns: [q, w].
        channels: number of channels.
        noise_std: deviation of the noise.
    """

    left: tuple[Array, Array]
    values: tuple[Array, Array]
    right: tuple[Array, Array]
    shape: Shape = eqx.field(static=True)
    noise_std: Array | float

    def __init__(
        self,
        rows: Float[Array | np.ndarray, "p h"],
        columns: Float[Array | np.ndarray, "q w"],
        channels: int,
        noise_std: Array | float = 0.0,
    ):
        of_rows, of_columns = (
            [jnp.asarray(factor, float) for factor in np.linalg.svd(np.asarray(matrix, np.float64))]
            for matrix in (rows, columns)
        )
        self.left = of_rows[0], of_columns[0]
        self.values = of_rows[1], of_columns[1]
        self.right = of_rows[2], of_columns[2]
        self.shape = (rows.shape[1], columns.shape[1], channels)
        self.noise_std = noise_std

    @property
    def gains(self) -> Array:
        down, across = (jnp.pad(s, (0, n - len(s))) for s, n in zip(self.values, self.shape[:2], strict=True))
        products = down[:, None] * across
        kept = jnp.where(products > NEGLIGIBLE * products[0, 0], products, 0)
        return jnp.broadcast_to(kept[..., None], self.shape)

    def analyse(self, x: Array) -> Array:
        return _product("ih,jw,hwc->ijc", *self.right, x)

    def synthesise(self, coefficients: Array) -> Array:
        return _product("ih,jw,ijc->hwc", *self.right, coefficients)

    def place(self, y: Array) -> Array:
        inner = _product("pi,qj,pqc->ijc", *self.left, y)[: self.shape[0], : self.shape[1]]
        return jnp.pad(inner, [(0, n - m) for n, m in zip(self.shape, inner.shape, strict=True)])

    def read(self, coefficients: Array) -> Array:
        (p, _), (q, _) = (matrix.shape for matrix in self.left)
        inner = coefficients[:p, :q]
        down, across = (matrix[:, :n] for matrix, n in zip(self.left, inner.shape, strict=False))
        return _product("pi,qj,ijc->pqc", down, across, inner)


def average(shape: Shape, factor: int, noise_std: Array | float = 0.0) -> Separable:
    """Return down-sampling [h, w, c] to [h / factor, w / factor, c] by the mean over blocks.

    Raises:
        ValueError: if `factor` does not divide height and width.
    """
    _check_factor(shape, factor)
    rows, columns = (np.kron(np.eye(n // factor), np.full((1, factor), 1 / factor)) for n in shape[:2])
    return Separable(rows, columns, shape[2], noise_std)


def bicubic(shape: Shape, factor: int, noise_std: Array | float = 0.0) -> Separable:
    """Return down-sampling [h, w, c] to [h / factor, w / factor, c] by Keys' cubic kernel (a = -1/2), antialiased.

    The kernel is stretched by `factor` and its weights are normalised anew at the borders, as in Pillow and MATLAB.

    Raises:
        ValueError: if `factor` does not divide height and width.

    References:
        Keys, Cubic Convolution Interpolation for Digital Image Processing, 1981.
    """
    _check_factor(shape, factor)
    rows, columns = (jax.image.resize(jnp.eye(n), (n // factor, n), "cubic") for n in shape[:2])
    return Separable(rows, columns, shape[2], noise_std)


def _check_factor(shape: Shape, factor: int) -> None:
    if factor < 1 or shape[0] % factor or shape[1] % factor:
        raise ValueError(f"factor must divide height and width of {shape}, got {factor}")
