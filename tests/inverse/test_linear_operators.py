"""What every linear operator promises, held against its dense matrix."""

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgm_jax import inverse
from sgm_jax.inverse import MASKS

KEY = jax.random.key(0)
KERNEL = np.random.default_rng(0).random((4, 3))
SENSITIVITIES = inverse.coil_sensitivities(3, (8, 6))


def frequencies(shape):
    return jax.random.bernoulli(KEY, 0.4, (*shape[:2], 1)).astype(jnp.float32)


SPECTRAL = {
    "mask": lambda: inverse.Mask(MASKS["random"](KEY, (4, 6, 3)), (4, 6, 3)),
    "grey": lambda: inverse.Grey((4, 3, 3), jnp.array(inverse.LUMA)),
    "average": lambda: inverse.average((6, 4, 2), 2),
    "bicubic": lambda: inverse.bicubic((8, 12, 1), 4),
    "separable_up": lambda: inverse.Separable(KERNEL, KERNEL.T, 1),
    "circular_blur": lambda: inverse.CircularBlur(KERNEL, (6, 5, 2)),
    "circular_average": lambda: inverse.CircularBlur(inverse.uniform_kernel(3), (6, 6, 1)),
    "decomposed": lambda: inverse.decompose(inverse.Radon((6, 6, 1), 4)),
    "decomposed_tall": lambda: inverse.decompose(inverse.Radon((5, 5, 1), 7)),
    "hadamard": lambda: inverse.Hadamard(KEY, (4, 4, 2), 7),
    "fourier": lambda: inverse.FourierMask(frequencies((6, 5)), (6, 5, 2)),
    "real_fourier": lambda: inverse.RealFourierMask(frequencies((6, 5)), (6, 5, 1)),
    "real_fourier_odd": lambda: inverse.RealFourierMask(frequencies((5, 7)), (5, 7, 1)),
}
LINEAR = {
    "blur": lambda: inverse.Blur(KERNEL, (6, 5, 2)),
    "dense": lambda: inverse.gaussian_sensing(KEY, (4, 3, 1), 5),
    "multi_coil": lambda: inverse.MultiCoil(frequencies((8, 6)), SENSITIVITIES, (8, 6, 2)),
    "multi_coil_real": lambda: inverse.MultiCoil(frequencies((8, 6)), SENSITIVITIES, (8, 6, 1)),
    "radon": lambda: inverse.Radon((8, 8, 1), 5),
    "radon_limited": lambda: inverse.Radon((7, 7, 2), jnp.array([3.0, 40.0, 100.0]), detectors=10),
    "function": lambda: inverse.Linear(lambda x: jnp.cumsum(x, 0) + 2 * x, (5, 2)),
    "complex": lambda: inverse.Linear(lambda x: jnp.fft.fft(x)[:3], (8,)),
    "composition": lambda: inverse.Composition(inverse.average((6, 4, 1), 2), inverse.CircularBlur(KERNEL, (6, 4, 1))),
}
ALL = SPECTRAL | LINEAR
ITERATED = ("dense", "complex")
VARIANTS = (
    *("grey", "average", "separable_up", "circular_average", "fourier", "real_fourier_odd", "hadamard"),
    *("bicubic", "decomposed", "decomposed_tall"),
    *("blur", "dense", "multi_coil", "multi_coil_real", "radon_limited", "function", "complex", "composition"),
)


def each(names):
    return [pytest.param(name, marks=pytest.mark.slow) if name in VARIANTS else name for name in names]


def units(shape):
    return jnp.eye(math.prod(shape)).reshape(-1, *shape)


@functools.cache
def matrices(name):
    """Return an operator, an example, a measurement, and all that the operator does as matrices; one compilation."""
    operator = ALL[name]()
    x = jax.random.normal(KEY, operator.shape)
    y = jax.random.normal(KEY, operator.measured.shape, operator.measured.dtype)

    # Run once each: what takes time is the compilation.
    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def everything(x, y):
        energy = lambda x: 0.5 * jnp.sum(jnp.abs(operator.forward(x)) ** 2)
        found = dict(
            forward=jax.vmap(operator.forward)(units(operator.shape)),
            adjoint=operator.adjoint(y),
            gradient=jax.grad(energy)(x),
        )
        if name in (*SPECTRAL, *ITERATED):
            found |= dict(
                solved=operator.solve_gram(operator.forward(x), 0.3),
                null=operator.forward(operator.project_null(x)),
            )
        if name in SPECTRAL:
            coefficients = operator.analyse(x)
            found |= dict(
                inverse=operator.pseudo_inverse(y),
                ridge=operator.adjoint(operator.solve_gram(y, 0.3)),
                coefficients=coefficients,
                back=operator.synthesise(coefficients),
                gains=operator.gains,
                basis=jax.vmap(operator.analyse)(units(operator.shape)),
            )
        return found

    flat = lambda a: np.concatenate([np.ravel(a).real, np.ravel(a).imag]) if np.iscomplexobj(a) else np.ravel(a)
    found = jax.tree.map(np.asarray, everything(x, y))
    matrix = np.stack([flat(column) for column in found["forward"]], 1).astype(np.float64)
    return operator, matrix, flat(np.asarray(x)), flat(np.asarray(y)), {k: flat(v) for k, v in found.items()}


def close(ours, theirs, tolerance=1e-5):
    np.testing.assert_allclose(ours, theirs, atol=tolerance * (1 + np.linalg.norm(theirs)))


@pytest.mark.parametrize("name", each(ALL))
def test_linear_operators_agree_with_their_matrix(name):
    operator, matrix, x, y, found = matrices(name)
    close(found["adjoint"], matrix.T @ y)
    close(found["gradient"], matrix.T @ matrix @ x)


@pytest.mark.parametrize("name", each((*SPECTRAL, *ITERATED)))
def test_solutions_agree_with_linear_algebra(name):
    _, matrix, x, _, found = matrices(name)
    gram = matrix @ matrix.T + 0.3 * np.eye(len(matrix))
    close(found["solved"], np.linalg.solve(gram, matrix @ x), 1e-5 if name in SPECTRAL else 1e-4)
    close(found["null"], 0, 2e-5 if name in SPECTRAL else 1e-3)


@pytest.mark.parametrize("name", each(SPECTRAL))
def test_spectral_operators_have_the_stated_factors(name):
    operator, matrix, x, y, found = matrices(name)
    close(found["inverse"], np.linalg.pinv(matrix, rcond=1e-5) @ y)
    # What the adjoint sees of the solution is right whatever the measurement.
    close(found["ridge"], matrix.T @ np.linalg.solve(matrix @ matrix.T + 0.3 * np.eye(len(matrix)), y))
    close(np.sort(found["gains"])[::-1][: min(matrix.shape)], np.linalg.svd(matrix, compute_uv=False))
    basis = found["basis"].reshape(len(x), -1)
    close(basis @ basis.T, np.eye(len(x)))
    close(found["coefficients"], basis.T @ x)
    close(found["back"], x)
    assert found["gains"].shape == found["coefficients"].shape


@pytest.mark.parametrize("name", ["mask", pytest.param("real_fourier", marks=pytest.mark.slow)])
def test_what_is_not_recorded_never_matters(name):
    operator = ALL[name]()
    y = operator.measure(KEY, jnp.ones(operator.shape))
    hidden = jnp.broadcast_to(operator.mask, y.shape) == 0
    np.testing.assert_array_equal(y[hidden], 0)
    spoilt = jnp.where(hidden, jnp.nan, y)
    inverse.check_measurement(operator, spoilt)
    np.testing.assert_array_equal(operator.pseudo_inverse(spoilt), operator.pseudo_inverse(y))


@pytest.mark.slow
def test_noise_has_the_stated_deviation():
    operator = inverse.average((64, 64, 1), 2, noise_std=0.3)
    x = jnp.ones((64, 64, 1))
    np.testing.assert_allclose((operator.measure(KEY, x) - operator.forward(x)).std(), 0.3, rtol=0.05)


@pytest.mark.slow
def test_one_operator_an_example():
    shape = (4, 4, 1)
    masks = jax.vmap(MASKS["random"], (0, None))(jax.random.split(KEY, 3), shape)
    operators = eqx.filter_vmap(lambda mask: inverse.Mask(mask, shape))(masks)
    x = jax.random.normal(KEY, (3, *shape))
    y = eqx.filter_vmap(lambda operator, x: operator.forward(x))(operators, x)
    np.testing.assert_array_equal(y, masks * x)


def test_wrong_adjoints_are_named():
    class Wrong(inverse.Dense):
        def adjoint(self, y):
            return 2 * super().adjoint(y)

    with pytest.raises(ValueError, match="adjoint of Wrong"):
        inverse.check_adjoint(KEY, Wrong(jnp.ones((2, 3)), (3,)))


def test_bad_input_is_refused():
    shape, mask = (4, 4, 1), jnp.ones((4, 4, 1))
    with pytest.raises(ValueError, match="noise_std must be finite and at least 0, got -1"):
        inverse.Mask(mask, shape, -1.0)
    with pytest.raises(ValueError, match="noise_std"):
        inverse.average(shape, 2, noise_std=float("nan"))
    with pytest.raises(ValueError, match="mask must broadcast"):
        inverse.Mask(jnp.ones((3, 4, 1)), shape)
    with pytest.raises(ValueError, match="factor must divide"):
        inverse.bicubic(shape, 3)
    with pytest.raises(ValueError, match="power of two"):
        inverse.Hadamard(KEY, (3, 4, 1), 2)
    with pytest.raises(ValueError, match="weights must be one a channel"):
        inverse.Grey((4, 4, 3), jnp.ones(2))
    with pytest.raises(ValueError, match="square image"):
        inverse.Radon((4, 5, 1), 3)
    with pytest.raises(ValueError, match="outer must act"):
        inverse.Composition(inverse.average(shape, 2), inverse.average(shape, 2))
    operator = inverse.Mask(mask, shape)
    with pytest.raises(ValueError, match=r"shape \(4, 4, 1\), got \(4, 4\)"):
        inverse.check_measurement(operator, jnp.ones((4, 4)))
    with pytest.raises(ValueError, match="kind float32, got int32"):
        inverse.check_measurement(operator, jnp.ones(shape, int))
    with pytest.raises(ValueError, match="finite"):
        inverse.check_measurement(operator, jnp.full(shape, jnp.nan))
