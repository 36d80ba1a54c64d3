"""Several real processes over localhost, each with devices of its own, train what one process trains."""

import pathlib
import sys

import chex
import jax
import pytest
from processes import finish, launched

from sgm_jax import training
from sgm_jax.experiment import Experiment
from sgm_jax.training import hosts, read_metrics

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
from configs.toy import get_config

FIELDS = {"train.steps": 12, "train.log_every": 4, "train.eval_every": 12, "train.checkpoint_every": 6}


def trained(workdir):
    config = get_config("smoke")
    config.update_from_flattened_dict(FIELDS)
    with training.Checkpoints(workdir) as checkpoints:
        return checkpoints.restore(jax.eval_shape(Experiment.from_config(config).init))[0]


@pytest.mark.slow
def test_two_hosts_train_what_one_does(tmp_path):
    arguments = [f"--config.{name}={value}" for name, value in FIELDS.items()]
    for count, folder in ((2, "two"), (1, "one")):
        workdir = f"--workdir={tmp_path / folder}"
        options = ("--config=configs/toy.py:smoke", "--mode=train", workdir, *arguments)
        with launched(count, *options, devices=4 // count) as processes:
            codes, written = finish(processes)
        assert codes == [0] * count, written
        # The first host alone shows progress.
        assert ["training:" in text for text in written] == [True] + [False] * (count - 1)
    chex.assert_trees_all_close(trained(tmp_path / "two"), trained(tmp_path / "one"), rtol=1e-5, atol=1e-7)
    rows = [read_metrics(tmp_path / folder / "metrics.jsonl") for folder in ("two", "one")]
    assert [[row["step"] for row in part] for part in rows] == [[4, 8, 12]] * 2
    assert [row["loss"] for row in rows[0]] == pytest.approx([row["loss"] for row in rows[1]], rel=1e-5)


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
