"""What a config names, built and tried without a launcher."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs.mnist import get_config
from sgm_jax import naming
from sgm_jax.convert.shipped import pretrained
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


class Watched:
    """A network that answers with zeros and keeps what it was told of the augmentation."""

    def apply(self, variables, noise_label, x, label, augment=None, **options):
        self.augment = augment
        return jnp.zeros_like(x)


def test_augmentation_labels_reach_the_network_in_training_alone():
    config = get_config("smoke")
    config.data.name = "digits"
    config.train.augmentation, config.train.augment_probability = "edm", 0.9
    with pytest.raises(ValueError, match="network.augment_labels must be 9 for train.augmentation 'edm', got 0"):
        Experiment.from_config(config)
    config.network.augment_labels = 9
    network = Watched()
    experiment = dataclasses.replace(Experiment.from_config(config), network=network)
    batch = {"x": jnp.ones((6, *experiment.dataset.shape), jnp.uint8)}
    jax.eval_shape(experiment.loss, jax.random.key(0), {}, batch)
    assert network.augment.shape == (6, 9)
    jax.eval_shape(experiment.held_out_loss, jax.random.key(0), {}, batch)
    assert network.augment is None


def test_flips_take_no_probability():
    config = get_config("smoke")
    config.data.name, config.train.augmentation, config.train.augment_probability = "digits", "flip", 0.5
    with pytest.raises(ValueError, match="options of train.augmentation 'flip'"):
        Experiment.from_config(config)


def test_a_network_of_unknown_shape_is_refused():
    unknown = dataclasses.replace(pretrained("mnist"), shape=None)
    config = get_config("smoke")
    config.data.name = "none"
    with pytest.raises(ValueError, match="pretrained.shape must be known"):
        Experiment.from_config(config, unknown)


@pytest.mark.parametrize("clip", [0.0, -1.0])
def test_gradients_clipped_at_no_length_are_refused(clip):
    config = get_config("smoke")
    config.optimizer.clip = clip
    with pytest.raises(ValueError, match=f"clip must be positive, or None for gradients of any norm, got {clip}"):
        Experiment.from_config(config)


def test_options_that_are_needed_and_not_set_are_named():
    with pytest.raises(ValueError, match="levels 'growing' needs first and last, got None"):
        naming.construct("levels 'growing'", lambda first, *, last, rho=7.0: None, {"first": None, "rho": 5.0})
