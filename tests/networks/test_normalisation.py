"""InstanceNorm++ against its equation in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgm_jax.networks.normalisation import InstanceNormPlus


def expected(x, scale, alpha, bias):
    """Song and Ermon, 2019, appendix A.1, for one image [h, w, c], in float64."""
    x = x.astype(np.float64)
    mean, std = x.mean((0, 1)), np.sqrt(x.var((0, 1)) + 1e-5)
    relative = (mean - mean.mean()) / np.sqrt(mean.var(ddof=1) + 1e-5)
    return scale * ((x - mean) / std + alpha * relative) + bias


@pytest.mark.parametrize("levels", [0, 4])
@pytest.mark.parametrize("mean", [0.0, 30.0])
def test_equals_the_equation(levels, mean):
    draw = np.random.default_rng(0).standard_normal
    x, level = jnp.float32(draw((3, 6, 5, 7)) + mean * draw(7)), jnp.array([2, 0, 3])
    params = {name: 1 + draw((levels, 7) if levels else 7) for name in ("scale", "alpha", "bias")}
    given = (x, level) if levels else (x, None)
    output = InstanceNormPlus(levels).apply({"params": jax.tree.map(jnp.float32, params)}, *given)
    for i in range(3):
        own = {name: value[level[i]] if levels else value for name, value in params.items()}
        np.testing.assert_allclose(output[i], expected(np.asarray(x[i]), **own), rtol=1e-4, atol=1e-4)


def test_statistics_are_float32_whatever_the_type():
    # In bfloat16 the spread of these would be lost to the mean.
    x = jnp.float32(100 + np.random.default_rng(0).standard_normal((2, 8, 8, 4)))
    norm = InstanceNormPlus(dtype=jnp.bfloat16)
    params = norm.init(jax.random.key(0), x, None)
    output = norm.apply(params, x, None)
    assert output.dtype == jnp.bfloat16
    np.testing.assert_allclose(output.astype(np.float32), InstanceNormPlus().apply(params, x, None), atol=0.02)
