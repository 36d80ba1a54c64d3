import sys
import time
import types

import pytest
from test_training import Counter, run

from sgm_jax import training
from sgm_jax.training.watching import Stopwatch, Watch, performance


def test_rows_tell_rates_shares_memory_and_compilation_once(tmp_path):
    run(tmp_path, 8, watch=Watch(batch_size=8, peak_flops=1e9))
    first, second = training.read_metrics(tmp_path / "metrics.jsonl")
    assert first["compile_seconds"] > 0 and "compile_seconds" not in second
    for row in (first, second):
        assert row["examples_per_second"] == pytest.approx(8 * row["steps_per_second"])
        assert 0 <= row["input_share"] <= 1 and 0 <= row["checkpoint_share"] <= 1
        assert 0.01 < row["peak_memory_gib"] < 100
        assert 0 < row["model_flops_utilisation"]


def test_input_counts_only_where_it_is_waited_for(tmp_path):
    clock = Stopwatch()
    for busy in (True, False):
        with clock("input", lambda: not busy):  # noqa: B023
            time.sleep(0.02 if busy else 0.01)
    assert 0.01 <= clock.read()[1]["input"] < 0.02

    class Slow(Counter):
        def __next__(self):
            time.sleep(0.05)
            return super().__next__()

    run(tmp_path, 8, data=Slow())
    assert training.read_metrics(tmp_path / "metrics.jsonl")[1]["input_share"] > 0.5


def test_utilisation_is_work_over_what_could_be_done():
    row = performance(Watch(peak_flops=4e12), updates=10, seconds=5.0, flops=1e12)
    assert row == {"steps_per_second": 2.0, "model_flops_utilisation": 0.5}


def test_operations_can_be_counted_by_whoever_knows_better(tmp_path):
    run(tmp_path, 4, watch=Watch(batch_size=8, peak_flops=1e9, count_flops=lambda compiled: 5e9))
    row = training.read_metrics(tmp_path / "metrics.jsonl")[-1]
    assert row["model_flops_utilisation"] == pytest.approx(5 * row["steps_per_second"])


def test_chosen_steps_are_traced(tmp_path):
    run(tmp_path, 6, watch=Watch(trace=(3, 4)))
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


def test_tensorboard_gets_the_rows_or_is_refused_before_training(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ValueError, match="train.tensorboard needs tensorboardX"):
        Watch(tensorboard=True)
    written = []

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            assert folder == str(tmp_path / "tensorboard") and purge_step == 1

        def add_scalar(self, name, value, step):
            written.append((step, name, value))

        def flush(self):
            pass

    module = types.ModuleType("tensorboardX")
    module.SummaryWriter, module.__spec__ = SummaryWriter, types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "tensorboardX", module)
    run(tmp_path, 4, watch=Watch(tensorboard=True))
    (row,) = training.read_metrics(tmp_path / "metrics.jsonl")
    assert (4, "loss", row["loss"]) in written and len(written) == len(row) - 1


@pytest.mark.parametrize("trace", [(0, 3), (4, 2), (1, 2, 3)])
def test_a_trace_is_a_range_of_steps(trace):
    with pytest.raises(ValueError, match="train.trace must be a first and a last step"):
        Watch(trace=trace)
