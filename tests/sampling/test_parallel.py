import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closed_form import Mixture

import sgm_jax as sgm
from sgm_jax.sampling.parallel import sample_parallel

KEY = jax.random.key(1)


def mixture(sde, dim=2):
    return sgm.ProbabilityFlow(sde, Mixture(4 * np.random.default_rng(0).standard_normal((8, dim)), 0.3).score_fn(sde))


def random_network(sde):
    first, second = (jax.random.normal(key, (16, 16)) / 3 for key in jax.random.split(jax.random.key(5)))
    network = lambda t, x: jnp.tanh(x @ first + jnp.sin(3 * t)[:, None]) @ second
    return sgm.ProbabilityFlow(sde, sgm.as_score(sde, "denoised", network))


@pytest.mark.parametrize(
    ("process", "dim"),
    [(mixture(sgm.EDM()), 2), (mixture(sgm.VP(), 64), 64), (random_network(sgm.VP()), 16)],
)
def test_equals_sequential_ddim_in_a_quarter_of_the_rounds(process, dim):
    shape = (64, dim)
    sequential = sgm.sample(KEY, process, shape, steps=100, solver=diffrax.Euler()).x
    ours = sample_parallel(KEY, process, shape, steps=100)
    np.testing.assert_allclose(ours.x, sequential, atol=1e-3)
    assert ours.rounds <= 25
    assert ours.nfe == (ours.rounds - 1) * 100 + 1


@pytest.mark.slow
@pytest.mark.parametrize("window", [1, 7, 20])
def test_a_window_changes_the_cost_and_not_the_samples(window):
    process = mixture(sgm.EDM())
    schedule = np.append(sgm.karras(sgm.EDM(), 20)[:-1], 0.0)
    options = dict(schedule=schedule, final="none")
    sequential = sgm.sample(KEY, process, (32, 2), solver=diffrax.Euler(), **options).x
    ours = sample_parallel(KEY, process, (32, 2), window=window, **options)
    np.testing.assert_allclose(ours.x, sequential, atol=1e-3)
    assert ours.nfe == window * ours.rounds
    assert ours.rounds == 20 if window == 1 else ours.rounds < 20


def test_starts_where_it_is_told_to():
    sde = sgm.VP()
    start = jax.random.normal(jax.random.key(3), (8, 2, 1))
    process = sgm.ProbabilityFlow(sde, lambda t, x: -x)
    options = dict(x_init=start, schedule=sgm.uniform_time, steps=30)
    sequential = sgm.sample(KEY, process, start.shape, solver=diffrax.Euler(), **options).x
    np.testing.assert_allclose(sample_parallel(KEY, process, start.shape, **options).x, sequential, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (dict(steps=5, window=6), "number of steps 5, got 6"),
        (dict(steps=5, window=0), "got 0"),
        (dict(steps=5, tolerance=0.0), "must be > 0, got 0.0"),
        (dict(steps=5, final="clean"), "'clean'"),
        (dict(steps=5, x_init=jnp.zeros((3, 3))), r"\(2, 2\)"),
        (dict(), "steps="),
    ],
)
def test_bad_input_is_refused(options, match):
    with pytest.raises(ValueError, match=match):
        sample_parallel(KEY, mixture(sgm.VP()), (2, 2), **options)


def test_a_stochastic_process_is_refused():
    with pytest.raises(ValueError, match="got a ReverseSDE"):
        sample_parallel(KEY, sgm.ReverseSDE(sgm.VP(), lambda t, x: -x), (2, 2), steps=5)
