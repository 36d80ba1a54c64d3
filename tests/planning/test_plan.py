"""Plans: arithmetic of the roofline, memory of a network by hand, what is refused, and TPU slices with libtpu."""

import functools
import importlib.util
import os
import pathlib
import sys

import jax
import pytest

from sgm_jax import planning
from sgm_jax.components import describe_data
from sgm_jax.experiment import Experiment
from sgm_jax.planning import analysis, passes, programs, suggestion
from sgm_jax.planning.analysis import Measured
from sgm_jax.planning.chips import Chip

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
from configs import toy
from configs.dit import imagenet_256

needs_libtpu = pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")


def described(config):
    return Experiment.from_config(config, load=functools.partial(describe_data, num_classes=config.network.num_classes))


@functools.cache
def toy_experiment():
    config = toy.get_config("smoke")
    config.network.width, config.network.layers = 32, 1
    config.sampling.steps = 4
    return described(config)


def test_roofline_is_the_longest_of_three_times():
    chip = Chip("x", (), flops=100.0, memory=8.0, bandwidth=10.0, link=5.0, devices=2)
    best = analysis.roofline(1000.0, 60.0, 20.0, chip)
    assert (best.compute, best.memory, best.links) == (20.0, 12.0, 8.0)
    assert (best.seconds, best.bound) == (20.0, "compute")


def test_plan_for_attached_devices_accounts_for_every_byte(tmp_path):
    experiment, topology = toy_experiment(), planning.find("cpu")
    plan = planning.plan(experiment, topology, price=2.0)
    state = jax.eval_shape(experiment.init)
    count = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    arguments = plan.training.memory.arguments
    assert arguments["parameters"] == arguments["average"] == 4 * count
    assert arguments["batch"] == experiment.config.train.batch_size * 2 * 4 / 8
    # The program is given just these, and the number of the step.
    lowered = programs.training_step(experiment, topology)
    given = lowered.program.compile().memory_analysis().argument_size_in_bytes
    assert given == pytest.approx(sum(arguments.values()) + 4, abs=64)
    assert plan.training.memory.fits and plan.cost is None  # a CPU's peaks are not known
    assert set(plan.training.work.collectives) == {"all-reduce"} and not plan.sampler.work.collectives
    # Four steps of one evaluation each, and one to denoise; a batch filled up to a multiple of the devices.
    kernels = [leaf.size for leaf in jax.tree.leaves(state.params) if len(leaf.shape) == 2]
    rows = plan.sampler.batch_size / 8
    assert rows == 25 and plan.sampler.work.flops == pytest.approx(5 * 2 * rows * sum(kernels), rel=0.1)
    assert planning.as_dict(plan)["training"]["memory"]["fits"] and "training step" in planning.describe(plan)


def test_time_and_price_follow_from_the_roofline():
    memory = analysis.Memory({"parameters": 1.0}, 2.0, 0.0, 3.0, 4.0)
    work = analysis.Work(1.0, 1.0, {}, 0, analysis.Roofline(0.5, 2.0, 1.0))
    program = Measured(64, memory, work)
    plan = planning.Plan("v5e:2x4", 8, 900, program, None, 1.5)
    assert (program.seconds, program.images_per_second, work.roofline.bound) == (2.0, 32.0, "memory")
    assert plan.chip_hours == 900 * 2.0 * 8 / 3600 and plan.cost == 1.5 * plan.chip_hours


def test_first_way_to_train_that_fits_is_suggested(monkeypatch):
    experiment, topology = toy_experiment(), planning.find("cpu")
    tried = []

    def measured(make, experiment, topology, code):
        lowered = make(experiment, topology)
        tried.append(lowered.arguments["parameters"])
        memory = analysis.Memory(lowered.arguments, 0.0, 0.0, 10.0 if len(tried) > 1 else 30.0, 20.0)
        return Measured(lowered.batch_size, memory, analysis.Work(1.0, 1.0, {}, 0, None))

    monkeypatch.setattr(suggestion, "measured", measured)
    found = planning.suggest(experiment, topology)
    assert [choice.batch_size for choice, _ in found] == [512, 1024, 2048]
    assert [choice.fsdp for choice, _ in found] == [8, 1, 1]
    # The second try splits the parameters, except those too small to be worth it.
    assert tried[1] < tried[0] / 4


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "v5e:16x16"),
        ("v5e", "v5e:16x16"),
        ("v5e:0x4", "v4:8x8x8"),
        ("v9:4x4", "one of v4, v5e, v5p, v6e, v7x, got 'v9'"),
        ("v5e:4x4x4", "2 axes for v5e"),
        ("v6e:32x16", "at most the 256 chips"),
        ("gpu", "attached device"),
    ],
)
def test_unknown_topologies_are_refused_with_those_that_work(name, expected):
    with pytest.raises(ValueError, match=expected):
        planning.find(name)


def test_batch_that_devices_do_not_divide_is_refused():
    config = toy.get_config("smoke")
    config.train.batch_size = 510
    with pytest.raises(ValueError, match="504 or 512 would do"):
        planning.plan(described(config), planning.find("cpu"))


def test_data_that_lie_elsewhere_are_described_by_the_config():
    config = imagenet_256.get_config()
    dataset = described(config).dataset
    assert (dataset.shape, dataset.num_classes, len(dataset.train)) == ((32, 32, 4), 1000, 0)
    smoke = described(imagenet_256.get_config("smoke")).dataset
    assert smoke.num_classes == 1000 and len(smoke.train) > 0
    config.data.name, config.data.shape = "folder", None
    with pytest.raises(ValueError, match=r"data.size or data.shape"):
        described(config)


def test_what_does_not_fit_is_told_from_the_compilers_message():
    arguments = {"parameters": 2.0**30, "batch": 2.0**30}
    said = "Ran out of memory in memory space hbm. Used 20.50G of 15.75G hbm. Exceeded hbm capacity by 4.75G."
    whole = analysis.exceeded(said, arguments)
    assert (whole.temporaries, whole.total) == (None, 20.5 * 2**30)
    said = "the total memory required for HLO temporaries (19.20G) exceeds available HBM (15.75G). HLO module: jit_f."
    part = analysis.exceeded(said, arguments)
    assert (part.temporaries, part.total) == (19.2 * 2**30, 21.2 * 2**30)
    assert whole.limit == part.limit == 15.75 * 2**30 and not whole.fits and not part.fits
    assert analysis.exceeded("something else", arguments) is None


@needs_libtpu
@pytest.mark.parametrize("make", [programs.training_step, programs.sampler])
def test_what_the_passes_decide_is_what_the_whole_compiler_says(make):
    experiment, topology = toy_experiment(), planning.find("v5e:2x2")
    part, whole = (passes.measured(make, experiment, topology, code) for code in (False, True))
    assert part.work == whole.work and part.batch_size == whole.batch_size
    assert part.memory.code is None and whole.memory.code > 0
    assert part.memory.arguments == whole.memory.arguments
    # Arguments are padded, and some of libtpu's versions count temporaries of a few MiB otherwise.
    assert part.memory.total == pytest.approx(sum(part.memory.arguments.values()) + part.memory.temporaries, rel=0.2)
    assert part.memory.total == pytest.approx(whole.memory.total - whole.memory.code, rel=0.1, abs=2**22)


@needs_libtpu
def test_what_goes_wrong_in_the_compilers_process_is_told():
    config = toy.get_config("smoke")
    config.train.batch_size = 510
    with pytest.raises(ValueError, match="508 or 512 would do"):
        planning.plan(described(config), planning.find("v5e:2x2"))
    with pytest.raises(RuntimeError, match="compiler's process ended with 3"):
        passes.measured(lambda experiment, topology: os._exit(3), toy_experiment(), planning.find("v5e:2x2"))


@needs_libtpu
@pytest.mark.slow
def test_work_of_a_device_does_not_depend_on_their_number():
    config = imagenet_256.get_config("smoke")
    config.data.size = 32
    works = {}
    for name, devices in (("v5e:2x4", 8), ("v5e:8x8", 64), ("v5e:16x16", 256)):
        config.train.batch_size = 4 * devices
        plan = planning.plan(described(config), planning.find(name), sampling=False)
        works[devices] = plan.training.work
        assert set(plan.training.work.collectives) == {"all-reduce"}
    for work in works.values():
        assert work.flops == pytest.approx(works[8].flops, rel=0.02)
        assert work.bytes == pytest.approx(works[8].bytes, rel=0.02)


@needs_libtpu
def test_libtpu_names_the_shapes_it_refuses():
    with pytest.raises(ValueError, match="must be one that libtpu knows, such as v4:8x8x8"):
        planning.find("v5e:3x5")
    assert (planning.find("v4:2x2x4").chips, len(planning.find("v7x:2x2x2").devices)) == (16, 16)
