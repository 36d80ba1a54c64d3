"""Consistency models by config: what they start from, learn from and are compared with, and what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import consistency, toy
from sgm_jax import modes, sampling, teachers
from sgm_jax.experiment import Experiment
from sgm_jax.experiments.consistency import ConsistencyExperiment
from sgm_jax.training import Checkpoints, read_metrics


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A model of scores under the variance-preserving SDE as training leaves it, and its parameters."""
    config, folder = toy.get_config("smoke"), tmp_path_factory.mktemp("teacher")
    config.data.size = 400
    config.sde.name = "vp"
    modes.write_json(folder / "config.json", config.to_dict())
    experiment = Experiment.from_config(config)
    state = experiment.init()
    state = dataclasses.replace(state, ema_params=jax.tree.map(lambda p: p + 0.01, state.ema_params))
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(state, {}, config.to_dict())
        checkpoints.wait()
    return str(folder), experiment, state.ema_params


@pytest.fixture
def config(teacher):
    """A student of that teacher, under another SDE."""
    config = toy.get_config("smoke")
    config.data.size = 400
    config.train.batch_size, config.train.eval_examples = 64, 32
    config.objective = "consistency"
    config.sde.name = "edm"
    config.sde.t_min, config.sde.t_max = 0.05, 20.0
    config.prediction.name, config.prediction.sigma_data, config.prediction.s_min = "consistency", 1.0, 0.05
    config.times.name, config.times.mean, config.times.std = "karras", None, None
    config.distillation.teacher = teacher[0]
    config.sampling.process, config.sampling.solver, config.sampling.steps = "reverse_sde", "consistency", 2
    config.sampling.to_zero, config.sampling.final = True, "none"
    return config


def test_a_student_starts_from_its_teacher_and_sees_its_score_in_its_own_sde(config, teacher):
    _, model, params = teacher
    experiment = teachers.attach(ConsistencyExperiment.from_config(config))
    jax.tree.map(np.testing.assert_array_equal, experiment.init().params, params)
    s, x = jnp.array([0.1, 3.0]), jnp.array([[0.3, -1.0], [2.0, 4.0]])
    t = model.sde.t(s)
    wanted = model.score_fn(params)(t, model.sde.alpha(t)[:, None] * x) * model.sde.alpha(t)[:, None]
    np.testing.assert_allclose(experiment.teacher_score_fn()(experiment.sde.t(s), x), wanted, rtol=1e-3)


def test_the_target_is_the_average_with_the_decay_of_the_step(config):
    config.distillation.teacher, config.distillation.start = None, "random"
    config.consistency.name, config.consistency.levels, config.consistency.last = "training", "progressive", 40
    config.consistency.target, config.consistency.target_rate = "progressive", 0.6
    config.train.posthoc = (0.1,)
    experiment = ConsistencyExperiment.from_config(config)
    batch = {"x": experiment.dataset.train.x[:32]}
    start = experiment.init()
    state, _ = jax.jit(experiment.train_step())(start, batch)
    wanted = jax.tree.map(lambda old, new: 0.6 * old + 0.4 * new, start.params, state.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), state.profiles[-1], wanted)
    given = experiment.given(state)
    assert given["step"] == 1 and given["target"] is state.profiles[1]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"distillation.teacher": None, "consistency.name": "training"},
            "start 'teacher' needs a distillation.teacher, got None",
        ),
        ({"distillation.teacher": None, "distillation.start": "random"}, "'distillation' needs a distillation.teacher"),
        ({"distillation.teacher": "nowhere"}, "must be the folder of a trained model, or one of mnist, got 'nowhere'"),
        ({"distillation.start": "student"}, "distillation.start must be one of teacher, random, got 'student'"),
        ({"sde.t_max": 1000.0}, "noise levels within the teacher's .* got 0.05 to 1000"),
        ({"network.width": 8}, "needs the network of the teacher .* of a wrong shape"),
        ({"prediction.s_min": 0.01}, "s_min must be the SDE's smallest level 0.05, got 0.01"),
        ({"prediction.name": "noise", "prediction.s_min": None, "prediction.sigma_data": None}, "'edm', got 'noise'"),
        ({"consistency.name": "continuous_training", "consistency.last": 3}, "must be one of .* got 'last'"),
        ({"consistency.target_rate": 0.9}, "options of consistency.target 'student' .* got 'target_rate'"),
        ({"data.high": 2.0}, "must have the model's scaling of data"),
    ],
)
def test_what_cannot_be_learned_is_refused(config, changes, match):
    config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=match):
        teachers.attach(ConsistencyExperiment.from_config(config))


def test_training_without_the_teacher_at_hand_is_refused(config):
    with pytest.raises(ValueError, match="must be there to train: see teachers.attach"):
        ConsistencyExperiment.from_config(config).train_step()


def test_an_adaptive_weighting_is_trained_beside_the_network(config, teacher):
    config.consistency.name, config.consistency.warmup = "continuous_distillation", 0
    config.consistency.adaptive, config.optimizer.warmup = True, 0
    experiment = teachers.attach(ConsistencyExperiment.from_config(config))
    start = experiment.init()
    jax.tree.map(np.testing.assert_array_equal, start.params["network"], teacher[2])
    state, _ = jax.jit(experiment.train_step())(start, {"x": experiment.dataset.train.x[:64]})
    assert np.abs(state.params["weighting"]).max() > 0
    same, network = experiment.trained(state.params)
    assert same is experiment and network is state.params["network"]
    config.consistency.name, config.consistency.warmup = "distillation", None
    with pytest.raises(ValueError, match="options of consistency 'distillation' .* got 'adaptive'"):
        ConsistencyExperiment.from_config(config)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "adaptive"), [("distillation", None), ("continuous_distillation", True)])
def test_the_launcher_trains_and_samples(config, name, adaptive, tmp_path):
    config.consistency.name, config.consistency.adaptive = name, adaptive
    experiment = teachers.attach(ConsistencyExperiment.from_config(config))
    assert modes.train(experiment, tmp_path) == 0
    assert np.isfinite(read_metrics(tmp_path / "metrics.jsonl")[-1]["eval_loss"])
    # Without the teacher.
    assert modes.sample(ConsistencyExperiment.from_config(config), tmp_path) == 0
    with np.load(tmp_path / "samples.npz") as samples:
        assert np.isfinite(samples["x"]).all()


@pytest.mark.parametrize("variant", ["continuous", "tuning", "training"])
def test_the_config_of_digits_builds(variant):
    assert ConsistencyExperiment.from_config(consistency.get_config(variant).lock()).dataset.shape == (28, 28, 1)
    with pytest.raises(ValueError, match="got 'tiny'"):
        consistency.get_config("tiny")


def test_whole_trajectories_are_made_once_and_learned(config, tmp_path):
    config.distillation.start = "teacher"
    config.distillation.steps, config.distillation.pairs = 6, 200
    config.consistency.name = "trajectories"
    config.train.steps, config.train.log_every, config.train.eval_every = 40, 10, 40
    config.train.checkpoint_every = 40
    experiment = teachers.attach(ConsistencyExperiment.from_config(config))
    assert modes.train(experiment, tmp_path) == 0
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert rows[-1]["loss"] < rows[0]["loss"] and np.isfinite(rows[-1]["eval_loss"])
    source = experiment.prepared(tmp_path).dataset.train
    assert source.arrays["states"].shape == (200, 6, 2) and len(source) == 200
    # The states are those of the teacher's flow, under the student's own SDE.
    score_fn = experiment.teacher_score_fn()
    flow = sampling.ProbabilityFlow(experiment.sde, score_fn)
    start = jnp.asarray(source.arrays["states"][:8, 0])
    end = sampling.sample(jax.random.key(0), flow, (8, 2), x_init=start, schedule=experiment.levels).x
    np.testing.assert_allclose(end, source.arrays["x"][:8], rtol=1e-3, atol=1e-3)
    assert modes.sample(experiment, tmp_path) == 0


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"distillation.pairs": 5}, "distillation.pairs must be 0, or more for consistency 'trajectories', got 5 for"),
        ({"consistency.name": "trajectories", "consistency.top": 1.5}, "consistency.top must be between 0 and 1, got"),
        ({"consistency.name": "trajectories", "train.augmentation": "flip"}, "must be 'none' .* got 'flip'"),
        ({"consistency.name": "trajectories", "distillation.steps": 0}, "distillation.steps must be at least 1, got 0"),
    ],
)
def test_unusable_settings_of_trajectories_are_refused(config, changes, match):
    config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=match):
        ConsistencyExperiment.from_config(config)
