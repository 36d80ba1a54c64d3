"""What a config names, built and tried without a launcher."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs.mnist import get_config
from sgm_jax.experiment import Experiment


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, options",
    [pytest.param("ncsn", {}, marks=pytest.mark.slow), ("ncsnv2", {"sigma_begin": 10.0, "sigma_end": 0.01})],
)
def test_a_network_fed_the_index_of_the_level_trains(name, options):
    config = get_config("smoke")
    config.sde = ConfigDict(dict(name="ve", sigma_min=0.01, sigma_max=10.0, t_min=0.0))
    network = dict(name=name, levels=5, channels=4, multipliers=(1, 2), dilations=(1, 1))
    config.network = ConfigDict(network | options)
    config.prediction = ConfigDict(dict(name="level_score", sigma_begin=10.0, sigma_end=0.01, levels=5))
    config.sampling.s_max = 10.0
    experiment = Experiment.from_config(config)
    params, batch = experiment.init().params, {"x": jnp.zeros((2, *experiment.dataset.shape), jnp.uint8)}
    loss = lambda params: experiment.loss(jax.random.key(0), params, batch).mean()
    compiled = jax.jit(jax.value_and_grad(loss), compiler_options={"xla_backend_optimization_level": 0})
    value, gradient = compiled(params)
    assert np.isfinite(value) and value > 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
