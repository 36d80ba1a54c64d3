import os
import pathlib
import re
import signal
import subprocess
import sys
import textwrap
import time

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sgm_jax import training
from sgm_jax.training.metrics import MetricsLog
from sgm_jax.training.optimizers import OPTIMIZERS, SCHEDULES


class Counter:
    """Endless batches that are a function of their position."""

    def __init__(self, size=8, bad_step=None):
        self.position, self.size, self.bad_step = 0, size, bad_step

    def __iter__(self):
        return self

    def __next__(self):
        x = np.random.default_rng(self.position).normal(size=(self.size, 3)).astype(np.float32)
        if self.position == self.bad_step:
            x[0, 0] = np.nan
        self.position += 1
        return {"x": x}

    def get_state(self):
        return {"position": self.position}

    def set_state(self, state):
        self.position = state["position"]


def loss_fn(key, params, batch):
    noise = jax.random.normal(key, batch["x"].shape)
    return jnp.sum((batch["x"] @ params["w"] + params["b"] - noise) ** 2, 1)


def wait_for(path):
    while not path.exists():
        time.sleep(0.05)


OPTIMIZER = optax.adam(1e-2)


def make_state(width=3):
    params = {"w": jnp.full((3, width), 0.1), "b": jnp.zeros(width)}
    return training.init_state(params, OPTIMIZER)


def run(workdir, steps, data=None, **options):
    step = training.make_train_step(loss_fn, OPTIMIZER, seed=0, ema_rate=0.9, clip=1.0)
    schedule = training.Schedule(steps, log_every=4, checkpoint_every=5, eval_every=0)
    return training.train(step, make_state, Counter() if data is None else data, schedule, workdir, **options)


def test_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path):
    whole = run(tmp_path / "whole", 23)
    run(tmp_path / "parts", 7)
    run(tmp_path / "parts", 13)
    parts = run(tmp_path / "parts", 23)
    chex.assert_trees_all_equal(whole.state, parts.state)
    rows = training.read_metrics(tmp_path / "parts" / "metrics.jsonl")
    steps = [row["step"] for row in rows]
    assert steps == sorted(set(steps)) and steps[-1] == 23


def test_finished_run_does_nothing_more(tmp_path):
    first = run(tmp_path, 6)
    again = run(tmp_path, 6)
    chex.assert_trees_all_equal(first.state, again.state)
    assert again.finished


SCRIPT = """
    import sys, pathlib, time
    sys.path.insert(0, {tests!r})
    import test_training as t
    class Slow(t.Counter):
        def __next__(self):
            time.sleep(0.02)
            print(self.position, flush=True)
            return super().__next__()
    outcome = t.run(pathlib.Path(sys.argv[1]), 60, Slow())
    sys.exit(0 if outcome.finished else 3)
"""


def start_script(workdir):
    script = textwrap.dedent(SCRIPT).format(tests=str(pathlib.Path(__file__).parent))
    return subprocess.Popen(
        [sys.executable, "-c", script, str(workdir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=pathlib.Path(__file__).parents[2],
    )


@pytest.mark.parametrize("kill_at", [13, 38])
def test_killed_run_goes_on_bit_for_bit(tmp_path, kill_at):
    process = start_script(tmp_path / "killed")
    for line in process.stdout:
        if int(line) == kill_at:
            process.kill()
            break
    assert process.wait() == -9
    resumed = run(tmp_path / "killed", 60)
    chex.assert_trees_all_equal(resumed.state, run(tmp_path / "whole", 60).state)


def test_sigterm_saves_and_leaves(tmp_path):
    process = start_script(tmp_path)
    for line in process.stdout:
        if int(line) == 17:
            process.terminate()
            break
    process.stdout.read()
    assert process.wait() == 3
    with training.Checkpoints(tmp_path) as checkpoints:
        assert 17 <= checkpoints.latest <= 20
    chex.assert_trees_all_equal(run(tmp_path, 60).state, run(tmp_path / "whole", 60).state)


def test_a_signal_between_two_checks_loses_nothing(tmp_path):
    # The learning rate is asked for while a row of metrics is written, at a step that saves no checkpoint.
    def signalled(step):
        if step == 7:
            os.kill(os.getpid(), signal.SIGTERM)
        return 1e-2

    outcome = run(tmp_path, 20, learning_rate=signalled)
    assert not outcome.finished
    with training.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest == int(outcome.state.step) < 20


def test_divergence_names_step_loss_and_gradient_and_keeps_the_checkpoint(tmp_path):
    with pytest.raises(training.TrainingDiverged, match="step 8: loss nan, gradient norm nan"):
        run(tmp_path, 20, Counter(bad_step=7))
    with training.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest == 5
        state, _ = checkpoints.restore(jax.eval_shape(make_state))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_checkpoint_of_another_architecture_names_the_tensors(tmp_path):
    run(tmp_path, 5)
    with training.Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(training.CheckpointMismatch, match=r"b has shape \(3,\), this experiment's has \(5,\)"):
            checkpoints.restore(jax.eval_shape(lambda: make_state(5)))
        other = jax.eval_shape(lambda: training.init_state({"w": jnp.zeros((3, 3)), "gain": jnp.zeros(3)}, OPTIMIZER))
        with pytest.raises(training.CheckpointMismatch, match="gain is missing; b is not in this experiment"):
            checkpoints.restore(other)


def test_missing_checkpoint_is_a_clear_error(tmp_path):
    with training.Checkpoints(tmp_path) as checkpoints, pytest.raises(FileNotFoundError, match="no checkpoint in"):
        checkpoints.restore(make_state())


def test_only_the_latest_checkpoints_are_kept(tmp_path):
    run(tmp_path, 20)
    kept = sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit())
    assert kept == [15, 20]


def test_accumulated_gradients_equal_those_of_the_whole_batch():
    quiet = lambda key, params, batch: jnp.sum((batch["x"] @ params["w"]) ** 2, 1)
    batch = next(Counter())
    step = lambda slices: training.make_train_step(quiet, optax.sgd(0.1), seed=0, ema_rate=0.9, accumulate=slices)
    state = training.init_state({"w": jnp.full((3, 3), 0.1)}, optax.sgd(0.1))
    whole, one = step(1)(state, batch)
    sliced, four = step(4)(state, batch)
    np.testing.assert_allclose(sliced.params["w"], whole.params["w"], rtol=1e-5)
    np.testing.assert_allclose(four["loss"], one["loss"], rtol=1e-5)


def test_moving_average_is_the_recursion_written_out():
    step = training.make_train_step(loss_fn, OPTIMIZER, seed=0, ema_rate=0.5)
    state, data, average = make_state(), Counter(), np.full((3, 3), 0.1)
    for number in range(12):
        state, _ = step(state, next(data))
        rate = min(0.5, (1 + number) / (10 + number))
        average = rate * average + (1 - rate) * np.asarray(state.params["w"])
    np.testing.assert_allclose(state.ema_params["w"], average, rtol=1e-5)


def test_one_compilation_serves_all_steps():
    step = jax.jit(
        chex.assert_max_traces(n=1)(training.make_train_step(loss_fn, OPTIMIZER, seed=0, ema_rate=0.9)),
        donate_argnums=0,
    )
    state, data = make_state(), Counter()
    for _ in range(4):
        state, _ = step(state, next(data))


def test_gradients_are_brought_into_the_order_of_the_parameters_on_gpus_alone():
    step = jax.jit(training.make_train_step(loss_fn, OPTIMIZER, seed=0, ema_rate=0.9))
    traced = step.trace(make_state(), next(Counter()))
    constraints = {
        p: traced.lower(lowering_platforms=(p,)).as_text().count("LayoutConstraint") for p in ("cuda", "cpu")
    }
    assert constraints == {"cuda": 2, "cpu": 0}


def test_optimizers_state_is_not_copied_on_cpus():
    loss = lambda key, params, batch: jnp.sum((batch["x"] @ params["w"]) ** 2, 1)
    step = jax.jit(training.make_train_step(loss, OPTIMIZER, seed=0, ema_rate=0.9, clip=1.0), donate_argnums=0)
    state = training.init_state({"w": jnp.ones((3, 64))}, OPTIMIZER)
    compiled = step.lower(state, next(Counter())).compile().as_text()
    assert "f32[3,64]" in compiled
    assert not re.findall(r"f32\[3,64\]\S* copy\(", compiled)


@pytest.mark.parametrize("clip", [0.0, -1.0, float("nan")])
def test_clip_that_is_not_positive_is_refused(clip):
    with pytest.raises(ValueError, match=f"clip must be positive, .*got {clip}"):
        training.make_train_step(lambda key, params, batch: 0.0, OPTIMIZER, seed=0, ema_rate=0.9, clip=clip)


def test_clipped_steps_are_those_of_a_clipping_optimizer():
    data, states = Counter(), []
    batches = [next(data) for _ in range(5)]
    for clip, optimizer in (0.1, OPTIMIZER), (None, optax.chain(optax.clip_by_global_norm(0.1), OPTIMIZER)):
        step = training.make_train_step(loss_fn, optimizer, seed=0, ema_rate=0.9, clip=clip)
        state = training.init_state({"w": jnp.full((3, 3), 0.1), "b": jnp.zeros(3)}, optimizer)
        for batch in batches:
            state, metrics = step(state, batch)
        assert metrics["gradient_norm"] > 0.2
        states.append(state)
    chex.assert_trees_all_close(states[0].params, states[1].params, rtol=1e-5)


def test_same_numbers_on_one_and_eight_devices():
    if len(jax.devices()) < 8:
        pytest.skip("needs eight devices")
    step = jax.jit(training.make_train_step(loss_fn, OPTIMIZER, seed=0, ema_rate=0.9))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    batch = next(Counter())
    one, _ = step(make_state(), batch)
    eight, _ = step(make_state(), jax.device_put(batch, split))
    chex.assert_trees_all_close(one, eight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_lowers_the_loss(name):
    optimizer = OPTIMIZERS[name](learning_rate=optax.constant_schedule(2e-2))
    step = jax.jit(
        training.make_train_step(
            lambda key, params, batch: jnp.sum((batch["x"] @ params["w"] - 1) ** 2, 1), optimizer, seed=0, ema_rate=0.0
        )
    )
    state, data = training.init_state({"w": jnp.full((3, 3), 0.3)}, optimizer), Counter(64)
    losses = []
    for _ in range(120):
        state, metrics = step(state, next(data))
        losses.append(float(metrics["loss"]))
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    chex.assert_trees_all_close(state.params, state.ema_params, rtol=1e-5)


@pytest.mark.parametrize("name", SCHEDULES)
def test_learning_rates_rise_and_end_as_named(name):
    schedule = SCHEDULES[name](2.0, 10, 100)
    assert float(schedule(0)) == 0.0
    np.testing.assert_allclose(schedule(5), 1.0)
    np.testing.assert_allclose(schedule(10), 2.0)
    np.testing.assert_allclose(schedule(100), 2.0 if name == "constant" else 0.0, atol=1e-6)
    np.testing.assert_allclose(SCHEDULES[name](2.0, 0, 100)(0), 2.0)


def test_metrics_survive_a_line_cut_short(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    assert [row["step"] for row in training.read_metrics(path)] == [1]
    MetricsLog(path, 1).write({"step": 2, "loss": 1.0})
    assert [row["step"] for row in training.read_metrics(path)] == [1, 2]


@pytest.mark.parametrize(("field", "value"), [("steps", 0), ("log_every", 0), ("checkpoint_every", -1)])
def test_bad_schedules_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} must be at least 1, got {value}"):
        training.Schedule(**{"steps": 10, field: value})
