"""Experiments that train the schedule too, and what the launcher's modes do with them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs.toy import get_config
from sgm_jax import modes, stored
from sgm_jax.convert import Pretrained
from sgm_jax.convert.shipped import pretrained
from sgm_jax.experiments.likelihood import MaximumLikelihoodExperiment, VariationalExperiment, measure_bound
from sgm_jax.run import OBJECTIVES
from sgm_jax.training import Checkpoints


def toy(**train):
    config = get_config("smoke")
    config.objective = "vdm"
    config.sde = ConfigDict({"name": "learned_vp", "log_snr_max": 9.0, "log_snr_min": -7.0, "width": 8})
    config.network.width = 16
    config.train.update(dict(steps=20, batch_size=64, eval_every=10, checkpoint_every=10) | train)
    config.sampling.count = config.sampling.batch_size = 16
    return config


@pytest.mark.parametrize("objective", ["vdm", "maximum_likelihood"])
@pytest.mark.parametrize(("name", "value"), [("reduction", "sum"), ("dequantisation", "none")])
def test_settings_that_a_likelihood_has_no_use_for_are_refused(objective, name, value):
    config = toy(**{name: value})
    config.objective = objective
    with pytest.raises(ValueError, match=f"train.{name} is not used by objective '{objective}' .* got '{value}'"):
        OBJECTIVES[objective][0].from_config(config)


@pytest.mark.slow
def test_schedule_is_trained_resumed_exactly_and_used_by_the_modes(tmp_path):
    states = []
    for name, lengths in (("whole", (20,)), ("halves", (10, 20))):
        for steps in lengths:
            # Constant learning rate, so that the length of the run does not matter.
            config = toy(steps=steps)
            config.optimizer.schedule, config.optimizer.warmup = "constant", 0
            experiment = VariationalExperiment.from_config(config)
            (tmp_path / name).mkdir(exist_ok=True)
            assert modes.train(experiment, tmp_path / name) == 0
        with Checkpoints(tmp_path / name) as checkpoints:
            states.append(checkpoints.restore(jax.eval_shape(experiment.init))[0])
    for one, other in zip(*map(jax.tree.leaves, states), strict=True):
        np.testing.assert_array_equal(one, other)

    workdir = tmp_path / "whole"
    trained, params = stored.trained(experiment, workdir)
    for path, leaf in jax.tree_util.tree_leaves_with_path(trained.sde):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        np.testing.assert_array_equal(leaf, states[0].ema_params["schedule"][name])
    assert trained.sde.log_snr_max != experiment.sde.log_snr_max
    assert modes.sample(experiment, workdir) == 0
    assert np.isfinite(np.load(workdir / "samples.npz")["x"]).all()
    assert modes.measure(experiment, workdir, measure_bound) == 0
    assert np.isfinite(json.loads((workdir / "likelihood.json").read_text())["bits_per_dim"])
    assert modes.export(experiment, workdir) == 0
    file = Pretrained.load(workdir / "model.safetensors")
    assert float(file.sde.log_span) == float(trained.sde.log_span)
    # What is reported is the mean of the training loss.
    batch = {"x": modes.held_out_batch(experiment, 512)["x"]}
    losses = jax.jit(lambda key: experiment.held_out_loss(key, states[0].ema_params, batch).mean())
    losses = [float(losses(key)) for key in jax.random.split(jax.random.key(0), 40)]
    config.likelihood.count = config.likelihood.batch_size = 512
    measured = measure_bound(trained, workdir, params)
    error = np.std(losses) / np.sqrt(len(losses)) + measured["standard_error"]
    assert abs(np.mean(losses) - measured["bits_per_dim"]) < 4 * error


@pytest.mark.slow
@pytest.mark.parametrize("kind", [VariationalExperiment, MaximumLikelihoodExperiment])
def test_losses_have_gradients_for_every_parameter(kind):
    config = toy()
    config.train.chain_steps = 50
    experiment = kind.from_config(config)
    params, batch = experiment.init().params, {"x": jnp.asarray(modes.held_out_batch(experiment, 8)["x"])}
    loss = lambda params: experiment.loss(jax.random.key(0), params, batch).mean()
    value, gradient = jax.jit(jax.value_and_grad(loss))(params)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    if kind is VariationalExperiment:
        assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient["schedule"]))


def test_fixed_schedules_are_refused():
    config = get_config("smoke")
    with pytest.raises(ValueError, match="needs sde.name 'learned_vp', got 'edm'"):
        VariationalExperiment.from_config(config)
    with pytest.raises(ValueError, match="a network whose sde is a LearnedVP, got a EDM"):
        VariationalExperiment.from_config(toy(), pretrained("mnist"))
