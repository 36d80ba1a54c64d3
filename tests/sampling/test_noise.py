import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from closed_form import Mixture

import sgm_jax as sgm
from sgm_jax.sampling.noise import BrownianTree, Recorded, gaussian, per_example_noise
from sgm_jax.shapes import expand, per_example_keys


def join(first, second):
    """Join increments and areas (dt, W, H) of adjacent intervals, by the definition of the area H."""
    (a, wa, ha), (b, wb, hb) = first, second
    return a + b, wa + wb, (a * ha + b * hb + 0.5 * (b * wa - a * wb)) / (a + b)


def test_gaussian_numbers_are_standard_and_independent():
    z = np.asarray(gaussian(jax.random.key(3), (1_000_001,)), np.float64)
    assert scipy.stats.kstest(z, "norm").pvalue > 0.01
    assert abs(scipy.stats.kurtosis(z)) < 0.02 and 4.5 < np.abs(z).max() < 6
    # The two numbers of a pair share their radius and their angle.
    first, second = z[:500_000], z[500_001:]
    for function in (np.asarray, np.abs, np.square):
        assert abs(np.corrcoef(function(first), function(second))[0, 1]) < 0.006


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
@pytest.mark.parametrize("x64", [False, True])
def test_noise_of_an_example_is_the_same_in_any_batch(impl, x64):
    with jax.enable_x64(x64):
        keys = per_example_keys(jax.random.key(0, impl=impl), 6)
        noise = per_example_noise(keys, 2, (6, 3, 5))
        assert noise.dtype == (jnp.float64 if x64 else jnp.float32)
        np.testing.assert_array_equal(noise[2:4], per_example_noise(keys[2:4], 2, (2, 3, 5)))
        assert len(np.unique(noise)) == noise.size
        assert not np.any(noise == per_example_noise(keys, 3, (6, 3, 5)))


@pytest.mark.slow
def test_strong_order_of_diffrax_solvers_on_one_path():
    sde = sgm.EDM(t_min=0.1, t_max=4.0)
    score = Mixture([[-1.0, 0.5], [1.0, 1.0], [0.3, -1.2]], 0.4).score_fn(sde)
    fine = 512
    schedule = sgm.uniform_log_snr(sde, fine)
    with jax.enable_x64(True):
        start = 4 * jax.random.normal(jax.random.key(0), (64, 2))
        draws = np.asarray(jax.random.normal(jax.random.key(1), (fine, 2, 64, 2)))
        gaps = -np.diff(schedule**2)
        path = [(dt, np.sqrt(dt) * z[0], np.sqrt(dt / 12) * z[1]) for dt, z in zip(gaps, draws, strict=True)]

        def draw(solver, path, schedule):
            areas = isinstance(solver, diffrax.AbstractSRK)
            noise = [(w / np.sqrt(dt), h / np.sqrt(dt / 12))[: 1 + areas] for dt, w, h in path]
            return sgm.sample(
                jax.random.key(0),
                sgm.ReverseSDE(sde, score),
                start.shape,
                solver=solver,
                schedule=schedule,
                x_init=start,
                noise=Recorded(jnp.asarray(np.array(noise).reshape(-1, 64, 2))),
                final="none",
            ).x

        reference = draw(diffrax.ShARK(), path, schedule)
        errors = {name: [] for name in ("Euler", "SRA1", "ShARK")}
        while len(path) > 32:
            path, schedule = [join(*pair) for pair in zip(path[::2], path[1::2], strict=True)], schedule[::2]
            if len(path) <= 64:
                for name, found in errors.items():
                    error = draw(getattr(diffrax, name)(), path, schedule) - reference
                    found.append(float(jnp.sqrt(jnp.mean(error**2))))
    orders = {name: np.log2(coarse / fine) for name, (fine, coarse) in errors.items()}
    assert 0.8 < orders["Euler"] < 1.3, errors
    assert orders["SRA1"] > 1.4 and orders["ShARK"] > 1.4, errors


@pytest.mark.slow
def test_the_tree_is_one_path_an_example():
    keys = per_example_keys(jax.random.key(0), 4)
    tree = lambda keys: BrownianTree(
        jnp.float32(-2.0), jnp.float32(-0.5), jnp.float32(1e-5), keys, (len(keys), 3), diffrax.SpaceTimeLevyArea
    )
    parts = lambda out: (out.dt, out.W, out.H)
    ask = lambda tree, t0, t1: parts(tree.evaluate(jnp.float32(t0), jnp.float32(t1), use_levy=True))
    whole, halves = ask(tree(keys), -1.9, -0.7), join(ask(tree(keys), -1.9, -1.3), ask(tree(keys), -1.3, -0.7))
    for ours, expected in zip(whole, halves, strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-4)
    np.testing.assert_array_equal(ask(tree(keys[:2]), -1.9, -1.3)[1], ask(tree(keys), -1.9, -1.3)[1][:2])


def test_euler_in_the_sdes_own_time_is_euler_maruyama():
    """Song et al., 2021, the Euler-Maruyama predictor: x - h (f x - g**2 score) + g sqrt(h) z."""
    sde = sgm.VP()
    score = lambda t, x: -jnp.tanh(x) / (0.1 + expand(t, x))
    t = np.linspace(1.0, 0.1, 6)
    noise = jax.random.normal(jax.random.key(0), (5, 4, 3))
    start = jax.random.normal(jax.random.key(1), (4, 3))
    x = start
    for i in range(5):
        h, f, g = t[i] - t[i + 1], sde.drift_coefficient(t[i]), sde.diffusion(t[i])
        x = x - h * (f * x - g**2 * score(jnp.full(4, t[i]), x)) + g * np.sqrt(h) * noise[i]
    out = sgm.sample(
        jax.random.key(9),
        sgm.ReverseSDE(sde, score, chart=sgm.OwnTime()),
        (4, 3),
        schedule=np.asarray(sde.s(t)),
        x_init=start,
        noise=Recorded(noise),
        final="none",
    )
    np.testing.assert_allclose(out.x * sde.alpha(t[-1]), x, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", [(3, 5), (4, 2), (4,)])
def test_recorded_noise_of_another_shape_is_refused(shape):
    noise, keys = Recorded(jnp.zeros((7, 4, 5))), per_example_keys(jax.random.key(0), 4)
    assert noise(keys, 2, (4, 5)).shape == (4, 5)
    with pytest.raises(ValueError, match=r"\[steps, \*.*\], got \(7, 4, 5\)"):
        noise(keys, 2, shape)
