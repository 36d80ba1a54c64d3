"""Experiments of progressive distillation and reflow: rounds, pairs, what a killed run leaves, what is refused."""

import dataclasses
import importlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.toy import get_config
from sgm_jax import data, modes, objectives, teachers
from sgm_jax.experiment import Experiment
from sgm_jax.experiments.distillation import Teacher
from sgm_jax.experiments.progressive import ProgressiveExperiment
from sgm_jax.experiments.reflow import ReflowExperiment
from sgm_jax.run import OBJECTIVES
from sgm_jax.sampling import ProbabilityFlow
from sgm_jax.shapes import per_example_keys
from sgm_jax.training import TrainState

SAMPLING = dict(solver="ddim", schedule="karras", steps=2, to_zero=True, final="none", batch_size=4, count=8)


def toy(objective="progressive_distillation", **distillation):
    config = get_config("smoke")
    config.objective = objective
    config.network.width, config.network.layers = 8, 1
    config.optimizer.warmup = 1
    config.train.update(dict(steps=6, batch_size=16, eval_examples=8, label_dropout=0.0))
    config.sampling.update(SAMPLING)
    config.distillation.update(dict(teacher="toy", rounds=2, steps=3) | distillation)
    return config


def taught(kind, config):
    plain = get_config("smoke")
    plain.network = config.network
    model = Experiment.from_config(plain)
    # Not what the student would start from by itself.
    params = jax.tree.map(lambda p: p + 0.05 * jax.random.normal(jax.random.key(3), p.shape), model.init_params())
    return kind.from_config(config).taught_by(Teacher(model, params))


def batch(experiment, step, size=16):
    return {"x": jnp.asarray(data.gather(experiment.dataset.train, range(size * step, size * (step + 1)))["x"])}


def assert_equal(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_each_round_begins_with_the_averaged_student_of_the_last():
    experiment = taught(ProgressiveExperiment, toy())
    step, states = jax.jit(experiment.train_step()), [experiment.init()]
    assert_equal(states[0].params["network"], experiment.teacher.params)
    for i in range(4):
        states.append(step(states[-1], batch(experiment, i))[0])
    first, last, then = states[1], states[3], states[4]
    assert_equal(first.params["teacher"], experiment.teacher.params)
    assert_equal(last.params["teacher"], experiment.teacher.params)
    assert_equal(then.params["teacher"], last.ema_params["network"])
    assert [float(state.params["stride"]) for state in (states[0], first, last, then)] == [2, 2, 2, 4]
    # A second round is a first one from that student: the same update, with a fresh optimiser, of the same loss.
    start = {"network": last.ema_params["network"], "teacher": last.ema_params["network"], "stride": jnp.array(4.0)}
    fresh = TrainState(last.step, start, start, experiment.optimizer.init(start))
    plain = jax.jit(Experiment.train_step(experiment))
    assert_equal(then, plain(fresh, batch(experiment, 3))[0])
    # A checkpoint's student takes as many steps as it learnt to.
    for state, count in ((last, 4), (then, 2)):
        student, network = experiment.trained(state.ema_params)
        assert_equal(network, state.ema_params["network"])
        assert student.sampler()["schedule"].shape == (count + 1,)
    whole, half = (experiment.trained(s.ema_params)[0].sampler()["schedule"] for s in (last, then))
    np.testing.assert_array_equal(half, whole[::2])
    assert half[-1] == 0


@pytest.mark.slow
def test_pairs_of_a_killed_run_are_completed_and_are_the_flows(tmp_path):
    experiment = taught(ReflowExperiment, toy("reflow", pairs=6))
    source = experiment.prepared(tmp_path).dataset.train
    x, noise = (source.arrays[name].copy() for name in ("x", "noise"))
    assert len(source) == 6 and source.take(np.array([1, 5]))["noise"].shape == (2, 2)
    (tmp_path / "pairs" / "00000004.npz").unlink()
    again = experiment.prepared(tmp_path).dataset.train
    np.testing.assert_array_equal(again.arrays["x"], x)
    np.testing.assert_array_equal(again.arrays["noise"], noise)
    # The flow is the teacher's own, from where the noise leads at the highest level.
    model, params = experiment.teacher.model, experiment.teacher.params
    keys = per_example_keys(modes.stream(experiment, modes.PAIRS), 8)
    flow = ProbabilityFlow(model.sde, model.score_fn(params))
    x0, other = objectives.reflow_pairs(keys[:6], flow, (6, 2), steps=3)
    np.testing.assert_allclose(x, x0, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(noise, other, rtol=1e-4, atol=1e-4)
    changed = dataclasses.replace(experiment, config=toy("reflow", pairs=6, steps=4))
    with pytest.raises(modes.Unsuitable, match='holds pairs made for .*"steps": 3.*not for .*4'):
        changed.prepared(tmp_path)
    narrower = dataclasses.replace(experiment, sde=dataclasses.replace(experiment.sde, t_min=2 * experiment.sde.t_min))
    with pytest.raises(modes.Unsuitable, match="holds pairs made for"):
        narrower.prepared(tmp_path)


@pytest.mark.slow
def test_reflow_trains_on_its_pairs_and_goes_on(tmp_path):
    config = toy("reflow", pairs=32)
    config.train.update(dict(steps=20, eval_every=20, checkpoint_every=10, log_every=5))
    experiment = taught(ReflowExperiment, config)
    assert modes.train(experiment, tmp_path) == 0
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert np.isfinite(rows[-1]["eval_loss"]) and rows[-1]["step"] == 20


@pytest.mark.slow
@pytest.mark.parametrize("name", ["consistency", "progressive", "reflow"])
def test_configs_of_digits_build(name):
    for variant in ("full", "smoke"):
        config = importlib.import_module(f"configs.{name}").get_config(variant)
        experiment = OBJECTIVES[config.objective][0].from_config(config)
        assert experiment.sampler()["schedule"].shape == (config.sampling.steps + 1,)


@pytest.mark.parametrize(
    ("objective", "changes", "message"),
    [
        ("progressive_distillation", {"sampling.solver": "heun"}, "needs a number of sampling.steps.*'solver': 'heun'"),
        ("progressive_distillation", {"distillation.rounds": 4}, "divide train.steps=6, got 4"),
        ("progressive_distillation", {"distillation.start": "random"}, "start must be 'teacher', got 'random'"),
        ("progressive_distillation", {"train.posthoc": (0.1,)}, "posthoc must be empty"),
        ("reflow", {"distillation.pairs": -1}, "distillation.pairs must be at least 0, got -1"),
    ],
)
def test_what_cannot_be_distilled_is_refused(objective, changes, message):
    config = toy(objective)
    config.update_from_flattened_dict(changes)
    kind = {"progressive_distillation": ProgressiveExperiment, "reflow": ReflowExperiment}[objective]
    with pytest.raises(ValueError, match=message):
        kind.from_config(config)


def test_teacher_of_another_process_is_refused():
    config = toy()
    config.sde.t_max = 20.0
    with pytest.raises(ValueError, match="sde must be the teacher's"):
        taught(ProgressiveExperiment, config)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "factor"), [("consistency", 10), ("reflow", 1.5)])
def test_a_dry_run_does_not_count_what_a_teacher_makes_once(name, factor, tmp_path):
    config = importlib.import_module(f"configs.{name}").get_config("smoke")
    config.distillation.start, config.distillation.steps = "random", 40
    kind = OBJECTIVES[config.objective][0]

    def operations(pairs):
        config.distillation.pairs = pairs
        return modes.dry_run("train", config, tmp_path, kind, teachers.attach)["time"].split(": ")[1].split()[0]

    once, anew = (float(operations(pairs).replace(",", "")) for pairs in (16, 0))
    assert anew > factor * once
