"""What a run bears: steps that are not finite, damaged and unwritable checkpoints, hangs."""

import subprocess
import sys
import textwrap

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_training import OPTIMIZER, Counter, loss_fn, make_state, run, wait_for

from sgm_jax import training
from sgm_jax.training.loop import Safeguards


def folders(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())


def test_a_step_that_is_not_finite_changes_nothing_but_the_count(tmp_path):
    step = training.make_train_step(loss_fn, OPTIMIZER, seed=0, ema_rate=0.9)
    state, data = make_state(), Counter(bad_step=0)
    after, metrics = jax.jit(step)(state, next(data))
    assert not np.isfinite(metrics["loss"]) and int(after.step) == 1
    for name in ("params", "ema_params", "opt_state"):
        chex.assert_trees_all_equal(getattr(after, name), getattr(state, name))


def test_as_many_bad_steps_are_left_out_as_allowed_and_counted(tmp_path):
    outcome = run(tmp_path / "one", 12, Counter(bad_step=6), safeguards=Safeguards(skip_limit=1))
    rows = training.read_metrics(tmp_path / "one" / "metrics.jsonl")
    assert outcome.finished and [row.get("skipped", 0) for row in rows] == [0, 1, 1]
    assert all(np.isfinite(row["loss"]) for row in rows)

    class Often(Counter):
        def __next__(self):
            self.bad_step = self.position if self.position >= 5 else None
            return super().__next__()

    with pytest.raises(training.TrainingDiverged, match="step 9: loss nan, gradient norm nan, after 3 that were left"):
        run(tmp_path / "often", 20, Often(), safeguards=Safeguards(skip_limit=3))


SLOW = pytest.mark.slow


@pytest.mark.parametrize("damage", ["cut", pytest.param("gone", marks=SLOW), pytest.param("metadata", marks=SLOW)])
def test_a_damaged_checkpoint_is_left_out_with_a_word_and_the_one_before_serves(tmp_path, damage, capsys):
    run(tmp_path, 10)
    files = [path for path in (tmp_path / "checkpoints" / "10").rglob("*") if path.is_file()]
    for path in files:
        if damage == "cut" and path.parent.name == "d":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        elif damage == "gone" and "state" in path.parts:
            path.unlink()
        elif damage == "metadata" and path.name == "_METADATA":
            path.write_text("{")
    again = run(tmp_path, 20)
    assert "checkpoint 10 in" in (out := capsys.readouterr().out) and "is damaged and left out" in out
    chex.assert_trees_all_equal(again.state, run(tmp_path / "whole", 20).state)


def test_checkpoints_at_intervals_are_kept_for_good(tmp_path):
    step = training.make_train_step(loss_fn, OPTIMIZER, seed=0, ema_rate=0.9)
    schedule = training.Schedule(25, eval_every=0, checkpoint_every=5, keep=1, keep_every=10)
    training.train(step, make_state, Counter(), schedule, tmp_path)
    assert folders(tmp_path) == [10, 20, 25]


@pytest.mark.parametrize(
    "optimizer,names",
    [
        (optax.sgd(0.1), "0/count is not in this experiment"),
        (optax.chain(optax.clip(1.0), OPTIMIZER), "1/0/count is missing"),  # as many arrays, of the same shapes
    ],
    ids=["sgd", "nested"],
)
def test_another_optimizer_is_told_from_damage(tmp_path, optimizer, names):
    run(tmp_path, 5, config={"optimizer": {"name": "adam"}, "network": {}})
    with training.Checkpoints(tmp_path) as checkpoints:
        other = jax.eval_shape(lambda: training.init_state(make_state().params, optimizer))
        message = f"another optimizer's state: {names}.* of the configs, optimizer.name=adam there and other here"
        with pytest.raises(training.CheckpointMismatch, match=message):
            checkpoints.restore(other, config={"optimizer": {"name": "other"}, "network": {}})


FULL = """
    import pathlib, resource, sys
    sys.path.insert(0, {tests!r})
    import test_training as t
    from sgm_jax import training
    class Filling(t.Counter):
        def __next__(self):
            if self.position == 7:
                t.wait_for(pathlib.Path(sys.argv[1]) / "checkpoints" / "5")
                resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
            return super().__next__()
    try:
        t.run(pathlib.Path(sys.argv[1]), 40, Filling())
    except OSError as error:
        print(type(error).__name__, str(error).count("\\n"), error)
"""


def python(script, tests, *arguments):
    script = textwrap.dedent(script).format(tests=str(tests))
    return subprocess.run([sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True)


@pytest.mark.slow
def test_a_full_disk_ends_in_one_line_and_keeps_the_last_checkpoint(tmp_path, request):
    done = python(FULL, request.path.parent, tmp_path)
    assert "OSError" in done.stdout or "CheckpointFailed" in done.stdout, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == 1
    with training.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest == 5
    chex.assert_trees_all_equal(run(tmp_path, 12).state, run(tmp_path / "whole", 12).state)


def test_a_folder_that_vanishes_ends_in_one_line(tmp_path):
    class Vanishing(Counter):
        def __next__(self):
            if self.position == 8:
                wait_for(tmp_path / "run" / "checkpoints" / "5")
                (tmp_path / "run").rename(tmp_path / "moved")
                (tmp_path / "run").write_text("in the way")
            return super().__next__()

    with pytest.raises(OSError) as error:
        run(tmp_path / "run", 40, Vanishing())
    assert "\n" not in str(error.value) and folders(tmp_path / "moved")[0] == 5


HANGING = """
    import pathlib, sys, time
    sys.path.insert(0, {tests!r})
    import test_training as t
    from sgm_jax.training.loop import Safeguards
    class Hanging(t.Counter):
        def __next__(self):
            time.sleep(600 if self.position == 6 else 0)
            return super().__next__()
    t.run(pathlib.Path(sys.argv[1]), 40, Hanging(), safeguards=Safeguards(step_timeout=20.0))
"""


@pytest.mark.slow
def test_a_step_that_never_ends_ends_the_process_and_shows_where_it_hung(tmp_path, request):
    done = python(HANGING, request.path.parent, tmp_path)
    assert done.returncode == 1
    assert "Timeout" in done.stderr and "__next__" in done.stderr
    assert folders(tmp_path) == [5]


@pytest.mark.parametrize("name, value", [("skip_limit", -1), ("step_timeout", 0.0)])
def test_bad_safeguards_are_refused(name, value):
    with pytest.raises(ValueError, match=f"train.{name} must be .*, got {value}"):
        Safeguards(**{name: value})


def test_a_bucket_that_cannot_be_reached_is_one_line():
    with pytest.raises(OSError, match="gs://nobody/nothing/checkpoints cannot be used: [^\n]*$"):
        training.Checkpoints("gs://nobody/nothing")


@pytest.mark.slow
def test_an_average_chosen_afterwards_is_the_one_tracked_all_along(tmp_path):
    profiles = [training.PowerProfile(width) for width in (0.05, 0.1)]
    wanted = training.PowerProfile(0.15)

    def trained(workdir, profiles, **options):
        params = {"w": jnp.full((3, 3), 0.1), "b": jnp.zeros(3)}
        step = training.make_train_step(loss_fn, OPTIMIZER, seed=0, ema_rate=0.9, profiles=profiles)
        make = lambda: training.init_state(params, OPTIMIZER, len(profiles))
        schedule = training.Schedule(400, log_every=400, eval_every=0, checkpoint_every=400, snapshot_every=20)
        widths = tuple(profile.width for profile in profiles)
        return training.train(step, make, Counter(), schedule, workdir, widths=widths).state

    tracked = trained(tmp_path / "tracked", [wanted]).profiles[0]
    state = trained(tmp_path / "stored", profiles)
    with training.Snapshots(tmp_path / "stored") as snapshots:
        found = snapshots.reconstruct(jax.eval_shape(lambda: state.params), 0.15)
        same = snapshots.reconstruct(jax.eval_shape(lambda: state.params), 0.1)
    chex.assert_trees_all_close(same, state.profiles[1], rtol=1e-5)
    scale = float(jnp.abs(state.params["w"] - tracked["w"]).max())
    np.testing.assert_allclose(found["w"], tracked["w"], atol=0.02 * scale)


@pytest.mark.parametrize("width, gamma", [(0.05, 16.97), (0.1, 6.94)])
def test_profiles_have_the_published_exponents(width, gamma):
    assert training.PowerProfile(width).gamma == pytest.approx(gamma, abs=0.005)
