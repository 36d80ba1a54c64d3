"""Several real processes over localhost, each with devices of its own, train what one process trains."""

import contextlib
import json
import pathlib
import shutil
import sys
import time

import chex
import jax
import numpy as np
import pytest
from processes import finish, launched
from stand_ins import store

from sgm_jax import modes, training
from sgm_jax.experiment import Experiment
from sgm_jax.training import hosts

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
from configs.mnist_conditional import get_config as get_classes
from configs.toy import get_config

FIELDS = {"train.steps": 12, "train.log_every": 4, "train.eval_every": 12, "train.checkpoint_every": 6}


@pytest.mark.slow
def test_two_hosts_train_what_one_does(tmp_path):
    arguments = [f"--config.{name}={value}" for name, value in FIELDS.items()]
    options = ("--config=configs/toy.py:smoke", "--mode=train", f"--workdir={tmp_path / 'two'}", *arguments)
    with launched(2, *options, devices=4) as processes:
        codes, written = finish(processes)
    assert codes == [0, 0], written
    # The first host alone shows progress.
    assert ["training:" in text for text in written] == [True, False]

    config = get_config("smoke")
    config.update_from_flattened_dict(FIELDS)
    experiment, states, rows = Experiment.from_config(config), [], []
    (tmp_path / "one").mkdir()
    assert modes.train(experiment, tmp_path / "one") == 0
    for folder in (tmp_path / "two", tmp_path / "one"):
        with training.Checkpoints(folder) as checkpoints:
            states.append(checkpoints.restore(jax.eval_shape(experiment.init))[0])
        rows.append(training.read_metrics(folder / "metrics.jsonl"))
    chex.assert_trees_all_close(*states, rtol=1e-5, atol=1e-7)
    assert [[row["step"] for row in part] for part in rows] == [[4, 8, 12]] * 2
    assert [row["loss"] for row in rows[0]] == pytest.approx([row["loss"] for row in rows[1]], rel=1e-5)


def options(workdir, **fields):
    given = {"train.steps": 100, "train.log_every": 20, "train.eval_every": 0, "train.checkpoint_every": 20} | fields
    arguments = [f"--config.{name}={value}" for name, value in given.items()]
    return (
        "--config=configs/toy.py:smoke",
        "--mode=train",
        f"--workdir={workdir}",
        "--heartbeat_timeout=10",
        *arguments,
    )


def final_state(workdir):
    experiment = Experiment.from_config(get_config("smoke"))
    with training.Checkpoints(workdir) as checkpoints:
        assert checkpoints.latest == 100
        return checkpoints.restore(jax.eval_shape(experiment.init))[0]


def wait_for_checkpoint(workdir, processes, limit=240):
    start = time.monotonic()
    while not any(path.name.isdigit() for path in (workdir / "checkpoints").glob("*")):
        assert time.monotonic() - start < limit and all(process.poll() is None for process in processes)
        time.sleep(0.05)


@pytest.mark.slow
def test_four_hosts_one_of_them_killed_go_on_as_four_or_as_two(tmp_path):
    with launched(4, *options(tmp_path / "whole")) as processes:
        assert finish(processes)[0] == [0] * 4
    with launched(4, *options(tmp_path / "killed")) as processes:
        wait_for_checkpoint(tmp_path / "killed", processes)
        processes[2].kill()
        # The others notice, and end by themselves.
        codes, _ = finish(processes)
    assert codes[2] == -9 and all(code != 0 for code in codes)
    shutil.copytree(tmp_path / "killed", tmp_path / "fewer")
    with launched(4, *options(tmp_path / "killed")) as processes:
        assert finish(processes)[0] == [0] * 4
    with launched(2, *options(tmp_path / "fewer")) as processes:
        assert finish(processes)[0] == [0] * 2
    whole = final_state(tmp_path / "whole")
    chex.assert_trees_all_equal(final_state(tmp_path / "killed"), whole)
    chex.assert_trees_all_close(final_state(tmp_path / "fewer"), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_two_hosts_draw_and_measure_what_one_does_and_the_first_alone_writes(tmp_path):
    changes = {"sampling.count": 8, "sampling.batch_size": 8, "likelihood.count": 12, "likelihood.batch_size": 4}
    changes["evaluation.features"] = "points"
    config, folders = get_config("smoke"), [tmp_path / "one", tmp_path / "two"]
    config.update_from_flattened_dict(changes | {"train.steps": 2, "train.checkpoint_every": 2, "train.log_every": 2})
    experiment = Experiment.from_config(config)
    folders[0].mkdir()
    assert modes.train(experiment, folders[0]) == 0
    shutil.copytree(*folders)
    for mode in (modes.sample, modes.measure, modes.evaluate):
        assert mode(experiment, folders[0]) == 0
    # A measurement that was killed after its first batch.
    lines = (folders[0] / "likelihood.jsonl").read_text().splitlines(keepends=True)
    (folders[1] / "likelihood.jsonl").write_text("".join(lines[:2]))
    arguments = [f"--config.{name}={value}" for name, value in changes.items()]
    said = {"sample": "8 samples in", "likelihood": "bits per dimension", "evaluate": "sliced_wasserstein"}
    for mode, words in said.items():
        command = ("--config=configs/toy.py:smoke", f"--workdir={folders[1]}", f"--mode={mode}", *arguments)
        with launched(2, *command, devices=2) as processes:
            codes, written = finish(processes)
        assert codes == [0, 0], written
        assert [words in text for text in written] == [True, False]
    one, two = (np.load(folder / "samples.npz")["x"] for folder in folders)
    np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-5)
    one, two = (json.loads((folder / "likelihood.json").read_text()) for folder in folders)
    assert two["bits_per_dim"] == pytest.approx(one["bits_per_dim"], rel=1e-5)
    figures = [json.loads((folder / "evaluation.json").read_text()) for folder in folders]
    assert figures[1] == pytest.approx(figures[0], rel=1e-4)
    records = [(folder / "likelihood.jsonl").read_text().splitlines() for folder in folders]
    assert records[0][:2] == records[1][:2] and len(records[0]) == len(records[1]) == 4


# The launcher, with images measured by some of their pixels, in several modes one after the other.
SEVERAL = """
import functools, pathlib, sys
from absl import flags
from sgm_jax import command_line, launch
from sgm_jax.evaluation import Extractor
from sgm_jax.modes import features
from sgm_jax.training import hosts

sys.path.append("tests")
from stand_ins import corners

features.extractor = lambda experiment: Extractor("corners", corners, batch_size=64)
hosts.connect = functools.cache(hosts.connect)
modes = sys.argv.pop(1).split(",")
command_line.define_flags()
command_line.read_flags(*sys.argv[:1], sys.argv[1:])
for flags.FLAGS.mode in modes:
    assert launch.main(pathlib.Path("configs/mnist_conditional.py"), pathlib.Path(flags.FLAGS.workdir)) == 0
"""
CLASSES = {
    "sampling.steps": 2,
    "sampling.batch_size": 16,
    "sampling.count": 16,
    "sampling.guidance_scales": "(0.0,2.0)",
    "sampling.compared": "('solver=euler,steps=3','solver=heun')",
    "evaluation.count": 16,
    "published.fid": 1.0,
    "published.inception_score": 1.0,
    "inverse.count": 2,
    "inverse.draws": 2,
    "inverse.steps": 3,
}


@pytest.mark.slow
def test_two_hosts_compare_restore_and_reproduce_as_one_does(tmp_path):
    store(Experiment.from_config(get_classes("smoke")), tmp_path / "1")
    shutil.copytree(tmp_path / "1", tmp_path / "2")
    arguments = ["--config=configs/mnist_conditional.py:smoke", *(f"--config.{k}={v}" for k, v in CLASSES.items())]
    for count in (1, 2):
        names = "stats,reproduce,inverse,guidance,samplers"
        command = ("-c", SEVERAL, names, f"--workdir={tmp_path / str(count)}", *arguments)
        with launched(count, devices=2, program=command) as processes:
            codes, written = finish(processes)
        assert codes == [0] * count, written
        assert ["inception_score" in text for text in written] == [True, False][:count]
    for name in ("reproduction", "inverse", "guidance", "samplers"):
        one, two = (json.loads((tmp_path / str(count) / f"{name}.json").read_text()) for count in (1, 2))
        chex.assert_trees_all_equal_structs(one, two)
        for (path, first), second in zip(jax.tree.leaves_with_path(one), jax.tree.leaves(two), strict=True):
            if "seconds" not in jax.tree_util.keystr(path):
                wanted = first if isinstance(first, str) else pytest.approx(first, rel=1e-3, abs=1e-5)
                assert second == wanted, (name, path)
    one, two = (np.load(tmp_path / str(count) / "statistics.npz") for count in (1, 2))
    chex.assert_trees_all_equal(dict(one), dict(two))


# The launcher, whose second process has no folder for temporary files.
BROKEN = """
import sys, tempfile
tempfile.tempdir = "/nowhere" if "--process_id=1" in sys.argv else None
from sgm_jax import launch
launch.start()
"""


@pytest.mark.slow
def test_an_error_at_one_host_ends_both(tmp_path):
    command = ("--config=configs/toy.py:smoke", f"--workdir={tmp_path}", "--mode=sample", "--heartbeat_timeout=10")
    with launched(2, *command, program=("-c", BROKEN)) as processes:
        codes, written = finish(processes, timeout=120)
    assert all(codes) and "/nowhere" in written[1]


@pytest.mark.slow
def test_notice_of_preemption_at_one_host_saves_and_ends_both_after_the_same_step(tmp_path):
    endless = {"train.steps": 10**6, "train.checkpoint_every": 10**5}
    with launched(2, *options(tmp_path, **endless)) as processes:
        while "metrics.jsonl" not in {path.name for path in tmp_path.iterdir()}:
            time.sleep(0.05)
        time.sleep(2)
        processes[1].terminate()
        codes, written = finish(processes)
    assert codes == [0, 0], written
    assert "checkpoint saved" in written[0]
    with training.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest % 10**5


@pytest.mark.parametrize(
    "environment, expected",
    [
        ({}, False),
        ({"SLURM_STEP_NUM_TASKS": "1"}, False),
        ({"SLURM_STEP_NUM_TASKS": "4"}, True),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, True),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, False),
        ({"TPU_WORKER_HOSTNAMES": "host-0,host-1"}, True),
    ],
)
def test_clusters_are_told_by_their_environment(environment, expected):
    assert hosts.is_cluster(environment | {"TPU_SKIP_MDS_QUERY": "1"}) is expected


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("localhost:1", 2, None), r"go together, got none of \['--process_id'\]"),
        (("localhost:1", 2, 2), "between 0 and --num_processes - 1, got 2 of 2"),
    ],
)
def test_incomplete_flags_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        hosts.connect(*arguments)


@pytest.mark.parametrize(
    "tasks, gpus, more, idle",
    [
        ("1(x4)", "8", {}, True),
        ("8(x4)", "8", {}, False),
        ("2", "4", {}, True),
        ("2(x2)", "", {}, False),
        ("1(x4)", "8", {"JAX_LOCAL_DEVICE_IDS": "0,1,2,3,4,5,6,7"}, False),
    ],
)
def test_gpus_that_no_process_of_slurm_would_take_are_refused(tasks, gpus, more, idle):
    environment = {"SLURM_STEP_TASKS_PER_NODE": tasks, "SLURM_GPUS_ON_NODE": gpus} | more
    with pytest.raises(ValueError, match=f"--ntasks-per-node={gpus}") if idle else contextlib.nullcontext():
        hosts.check_gpus(environment)
