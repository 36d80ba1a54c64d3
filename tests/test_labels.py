import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgm_jax as sgm
from sgm_jax.labels import LogLevel, NearestStep, ScaledTime, Sigma

LEVELS = (0.01, 0.02, 0.5, 3.0, 150.0)


@pytest.mark.parametrize("sde", [sgm.VP(), sgm.VE(), sgm.EDM()])
def test_nearest_step_is_the_nearest_level(sde):
    t = jnp.linspace(sde.t_min, sde.t_max, 101)
    nearest = np.abs(np.asarray(sde.s(t))[:, None] - np.array(LEVELS)).argmin(1)
    np.testing.assert_array_equal(NearestStep(LEVELS)(sde, t), nearest)


@pytest.mark.parametrize(
    "label, expected",
    [
        (ScaledTime(999.0), lambda sde, t: 999 * t),
        (Sigma(), lambda sde, t: sde.sigma(t)),
        (LogLevel(factor=250.0, unit=2.0), lambda sde, t: 250 * np.log(sde.sigma(t) / sde.alpha(t) / 2)),
    ],
)
def test_label_is_its_formula(label, expected):
    sde, t = sgm.VP(), jnp.array([0.01, 0.4, 1.0])
    np.testing.assert_allclose(label(sde, t), expected(sde, t), rtol=1e-5)


def test_equal_labels_find_the_same_compiled_function():
    traces = []

    @jax.jit
    def label(prediction, t):
        traces.append(t)
        return prediction.inputs(sgm.VP(), t, t)[0]

    for factor in (999.0, 999.0, 500.0):
        label(sgm.score.Labelled(sgm.score.Noise(), ScaledTime(factor)), jnp.ones(2))
    assert len(traces) == 2
