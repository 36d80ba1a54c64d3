import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgm_jax as sgm
from sgm_jax.sampling.noise import Recorded
from sgm_jax.sampling.sa import SASolver, adams_weights, within


def denoiser(t, x):
    return jnp.tanh(x) / (1 + 0.1 * t[:, None])


def quadrature_weights(nodes, start, end, power):
    """Integrate each Lagrange polynomial against `power exp(-power (end - u))` by Gauss-Legendre quadrature."""
    points, weights = np.polynomial.legendre.leggauss(40)
    u = start + 0.5 * (end - start) * (points + 1)
    kernel = 0.5 * (end - start) * weights * power * np.exp(-power * (end - u))
    basis = [np.prod([(u - m) / (n - m) for m in nodes if m != n], axis=0) for n in nodes]
    return [float(np.sum(kernel * b)) for b in basis]


@pytest.mark.parametrize(("predictor", "corrector"), [(1, 0), (2, 0), (3, 0), (3, 3), (2, 4), (1, 1)])
def test_it_is_the_published_algorithm(predictor, corrector):
    """Xue et al., 2023, algorithm 1, with integrals by quadrature; the noises play back in order."""
    with jax.enable_x64(True):
        sde, steps, eta, low, high = sgm.EDM(t_min=0.02, t_max=20.0), 10, 0.8, 0.1, 5.0
        s = sgm.karras(sde, steps)
        lam = -np.log(s)
        tau = np.where((low <= s) & (s <= high), eta, 0.0)
        noise = jax.random.normal(jax.random.key(1), (steps, 4, 3))
        start = 20 * jax.random.normal(jax.random.key(0), (4, 3))
        x = start
        known = [denoiser(jnp.full(4, s[0]), x)]
        for i in range(steps):
            power, h = 1 + tau[i] ** 2, lam[i + 1] - lam[i]
            base = np.exp(-power * h) * x + s[i + 1] * np.sqrt(1 - np.exp(-2 * tau[i] ** 2 * h)) * noise[i]
            back = range(i, max(i - predictor, -1), -1)
            weights = quadrature_weights([lam[j] for j in back], lam[i], lam[i + 1], power)
            x = base + sum(w * known[j] for w, j in zip(weights, back, strict=True))
            known.append(denoiser(jnp.full(4, s[i + 1]), x))
            # The last state stays the predictor's.
            if corrector and i < steps - 1:
                back = range(i + 1, max(i + 1 - corrector, -1), -1)
                weights = quadrature_weights([lam[j] for j in back], lam[i], lam[i + 1], power)
                x = base + sum(w * known[j] for w, j in zip(weights, back, strict=True))
        out = sgm.sample(
            jax.random.key(9),
            sgm.ReverseSDE(sde, sgm.as_score(sde, "denoised", denoiser), eta),
            (4, 3),
            solver=SASolver(predictor, corrector, within(low, high)),
            schedule=s,
            x_init=start,
            noise=Recorded(noise),
            final="none",
        )
        np.testing.assert_allclose(out.x, x, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("h", [1e-2, 1.0])
def test_weights_are_accurate_in_float32(h):
    nodes = np.array([0.0, -0.9, -2.1]) * h
    ours = adams_weights(jnp.asarray(nodes, jnp.float32), jnp.float32(h), jnp.float32(2.0), jnp.int32(3))
    # What counts is the weighted sum of smooth values: here u, whose integral is of the order of h**2.
    exact = quadrature_weights(nodes, 0.0, h, 2.0)
    np.testing.assert_allclose(np.sum(ours), np.sum(exact), rtol=1e-3)
    np.testing.assert_allclose(ours, exact, atol=1e-3 * h)


@pytest.mark.parametrize(
    ("options", "match"),
    [((4, 0), "predictor must be 1, 2 or 3 estimates, got 4"), ((2, 5), "corrector must be 0 to 4 estimates, got 5")],
)
def test_bad_input_is_refused(options, match):
    with pytest.raises(ValueError, match=match):
        SASolver(*options)
