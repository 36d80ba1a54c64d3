"""One step on one, two and eight devices in every form: the same numbers, and the cost that each form is chosen for."""

import functools
import pathlib
import re
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sgm_jax as sgm
from sgm_jax import data as datasets
from sgm_jax import meshes, modes, training
from sgm_jax.experiment import Experiment
from sgm_jax.networks import MLP, UNet
from sgm_jax.training import parallel

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
from configs.toy import get_config

NETWORK, OPTIMIZER, SDE = MLP(width=64, layers=1, dropout=0.2), optax.adam(1e-3), sgm.VP()
STEPS, BATCH = 50, 16
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "collective-broadcast", "reduce-scatter")


def loss(key, params, batch, network=NETWORK):
    loss_key, dropout_key = jax.random.split(key)
    apply = lambda t, x: network.apply({"params": params}, t, x, deterministic=False, rngs={"dropout": dropout_key})
    return sgm.denoising_score_matching(loss_key, SDE, sgm.as_score(SDE, "noise", apply), batch["x"])


def init(network=NETWORK):
    params = network.init(jax.random.key(0), jnp.ones(1), jnp.zeros((1, 3)))["params"]
    return training.init_state(params, OPTIMIZER)


def step(network=NETWORK, **options):
    loss_fn = functools.partial(loss, network=network)
    return training.make_train_step(loss_fn, OPTIMIZER, seed=0, ema_rate=0.9, **options)


def batches(count=STEPS, size=BATCH):
    return [{"x": np.random.default_rng(i).normal(size=(size, 3)).astype(np.float32)} for i in range(count)]


def mesh(devices=8, **axes):
    return meshes.make_mesh(**axes, devices=jax.devices()[:devices])


def losses(program):
    state, rows = program.init(), []
    for i in range(0, STEPS, program.steps):
        state, metrics = program.step(state, program.place(batches()[i : i + program.steps]))
        rows.append(metrics["loss"])
    return np.hstack(jax.device_get(rows))


@functools.cache
def losses_of_one_device():
    return losses(training.jit_program(step(), init))


FORMS = {
    "two": lambda: training.jit_program(step(), init, mesh(2)),
    "data": lambda: training.jit_program(step(), init, mesh()),
    "fsdp": lambda: training.jit_program(step(), init, mesh(fsdp=8)),
    "model": lambda: training.jit_program(step(), init, mesh(model=8)),
    "mixed": lambda: training.jit_program(step(), init, mesh(fsdp=2, model=2)),
    "pmap": lambda: training.pmap_program(step(), init, mesh()),
    "pmap_slices": lambda: training.pmap_program(step(accumulate=2), init, mesh(), 5),
    "slices": lambda: training.jit_program(step(accumulate=2), init, mesh(), 10),
}


@pytest.mark.parametrize("form", [pytest.param(f, marks=[pytest.mark.slow] * (f != "pmap")) for f in FORMS])
def test_losses_do_not_depend_on_the_devices(form):
    found = losses(FORMS[form]())
    assert found.shape == (STEPS,) and found[-1] < found[0]
    np.testing.assert_allclose(found, losses_of_one_device(), rtol=1e-5)


def compiled(mesh, size=BATCH, network=NETWORK, **options):
    shapes = jax.eval_shape(lambda: init(network))
    batch = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, batches(1, size)[0]))
    return training.parallel.compile_step(step(network, **options), mesh, shapes).lower(shapes, batch).compile()


@pytest.mark.slow
def test_gradients_of_convolutions_are_right_on_a_mesh_of_three_axes():
    # Without `gather` XLA's partitioner gets these wrong.
    network = UNet(channels=32, multipliers=(1,), blocks=1, attention=(4,), patch=2, init_scale=1.0)
    x, t = jax.random.normal(jax.random.key(0), (16, 8, 8, 1)), jnp.linspace(0, 1, 16)
    params = jax.jit(network.init)(jax.random.key(1), t, x)["params"]
    value = lambda params, t, x: jnp.mean(jnp.square(network.apply({"params": params}, t, x) - x))
    three = mesh(fsdp=2, model=2)
    split = lambda params, t, x: value(parallel.gather(three, params), t, x)
    sharding, batch = parallel.state_sharding(three, params), meshes.batch_sharding(three)
    ours = jax.jit(jax.grad(split), in_shardings=(sharding, batch, batch), out_shardings=sharding)(params, t, x)
    chex.assert_trees_all_close(ours, jax.jit(jax.grad(value))(params, t, x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("accumulate", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_data_parallel_step_communicates_in_all_reduces_alone(accumulate):
    text = compiled(mesh(), accumulate=accumulate).as_text()
    assert {name for name in COLLECTIVES if re.search(rf"\b{name}(-start)?\(", text)} == {"all-reduce"}


@pytest.mark.slow
def test_work_a_device_does_not_grow_with_the_devices():
    flops = [compiled(mesh(n), 8 * n).cost_analysis()["flops"] for n in (1, 2, 8)]
    np.testing.assert_allclose(flops, flops[0], rtol=0.02)


@pytest.mark.slow
def test_fully_sharded_state_takes_its_share_of_each_device():
    wide = MLP(width=256, layers=2)
    state_bytes = lambda mesh: compiled(mesh, network=wide).memory_analysis().argument_size_in_bytes
    whole, half, eighth = (state_bytes(mesh(8, data=8 // n, fsdp=n)) for n in (1, 2, 8))
    # Biases, the first layer's small kernels and the batch are not split.
    np.testing.assert_allclose([half, eighth], [whole / 2, whole / 8], rtol=0.05)


def test_large_arrays_alone_are_split_where_the_devices_divide_them():
    sharding = lambda shape: parallel.array_sharding(mesh(fsdp=2, model=4), shape).spec
    assert sharding((3, 3, 64, 128)) == jax.P(None, None, "fsdp", "model")
    assert sharding((64, 4, 3, 7)) == jax.P("fsdp", None, None, None)
    assert sharding((2048,)) == jax.P("fsdp")
    assert not any(sharding((16, 16))) and not any(sharding((35, 77)))


@pytest.mark.slow
@pytest.mark.parametrize("make", [training.jit_program, training.pmap_program])
def test_one_compilation_serves_all_steps_and_the_state_is_donated(make, caplog):
    chex.clear_trace_counter()
    program = make(chex.assert_max_traces(n=1)(step()), init, mesh())
    first, placed = program.init(), [program.place([batch]) for batch in batches(3)]
    state, _ = program.step(first, placed[0])
    with jax.log_compiles(), caplog.at_level("WARNING"):
        for batch in placed[1:]:
            state, _ = program.step(state, batch)
    assert not [record.message for record in caplog.records if "compil" in record.message.lower()]
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(first))


def test_a_checkpoint_is_restored_onto_other_devices(tmp_path):
    saved = training.jit_program(step(), init, mesh(fsdp=8)).init()
    with training.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(saved, {}, {})
        checkpoints.wait()
        for like in (training.jit_program(step(), init, mesh(4, fsdp=2)).like, jax.eval_shape(init)):
            state, _ = checkpoints.restore(like)
            chex.assert_trees_all_equal(state, saved)
            for leaf, wanted in zip(jax.tree.leaves(state), jax.tree.leaves(like), strict=True):
                assert leaf.sharding == (wanted.sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0]))


@pytest.mark.slow
def test_samples_on_all_devices_are_those_of_one(tmp_path):
    config = get_config("smoke")
    config.sampling.update(process="reverse_sde", solver="euler", steps=6, batch_size=32)
    experiment = Experiment.from_config(config)
    params = jax.tree.map(lambda p: p + 0.01, experiment.init().params)
    assert len(meshes.spread(jnp.zeros(32)).sharding.device_set) == 8
    assert len(meshes.spread(jnp.zeros(31)).sharding.device_set) == 1
    eight = modes.draw(experiment, tmp_path, params, 62)
    with experiment.config.unlocked():
        experiment.config.sampling.batch_size = 31
    np.testing.assert_allclose(eight, modes.draw(experiment, tmp_path, params, 62), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_likelihoods_on_all_devices_are_those_of_one(monkeypatch):
    experiment = Experiment.from_config(get_config("smoke"))
    params = jax.tree.map(lambda p: p + 0.01, experiment.init().params)
    index = np.arange(16)
    batch = datasets.gather(experiment.dataset.test, index)
    eight, _ = modes.likelihood.log_likelihood(experiment, params, batch, index, 0)
    assert len(eight.sharding.device_set) == 8
    monkeypatch.setattr(modes.likelihood, "spread", lambda tree: tree)
    one, _ = modes.likelihood.log_likelihood(experiment, params, batch, index, 0)
    assert len(one.sharding.device_set) == 1
    np.testing.assert_allclose(eight, one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "axes, message",
    [
        (dict(fsdp=3), r"must divide the 8 devices \(1, 2, 4, 8 would do\), got data=-1, fsdp=3, model=1"),
        (dict(data=3, fsdp=2), r"must be the 8 devices \(data=4, or -1, would do\), got data=3, fsdp=2"),
        (dict(data=0), "must be at least 1, and data too or -1, got data=0"),
    ],
)
def test_meshes_of_other_sizes_are_refused(axes, message):
    with pytest.raises(ValueError, match=message):
        mesh(**axes)


def test_batches_that_are_not_divided_are_refused():
    with pytest.raises(ValueError, match=r"multiple of 16, .* \(32 or 48 would do\), got 40"):
        parallel.check_batch(40, 2, 8)
    with pytest.raises(ValueError, match=r"\(8 would do\), got 4"):
        parallel.check_batch(4, 1, 8)
    config = get_config("smoke")
    config.train.batch_size = 4
    with pytest.raises(modes.Unsuitable, match=r"\(8 would do\), got 4"):
        modes.train(Experiment.from_config(config), pathlib.Path())


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"parallel.mode": "pmpa"}, "did you mean 'pmap'"),
        ({"parallel.mode": "pmap", "parallel.fsdp": 2}, "needs fsdp=1 and model=1, got fsdp=2"),
        ({"parallel.steps_per_dispatch": 3}, "must divide train.steps=100, train.log_every=20"),
        ({"parallel.steps_per_dispatch": 0}, "must be at least 1, got 0"),
        ({"network.dtype": "bfloat"}, "did you mean 'bfloat16'"),
        ({"network.remat": "block"}, "options of network 'mlp'"),
    ],
)
def test_bad_configs_are_refused(fields, message):
    config = get_config("smoke")
    config.update_from_flattened_dict(fields)
    with pytest.raises(ValueError, match=message):
        Experiment.from_config(config)


def test_networks_compute_in_the_type_of_the_config():
    config = get_config("smoke")
    config.network.dtype = "bfloat16"
    experiment = Experiment.from_config(config)
    params = jax.eval_shape(experiment.init).params
    text = str(jax.make_jaxpr(experiment.apply)(params, jnp.ones(2), jnp.ones((2, 2))))
    assert "bf16" in text and {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


@pytest.mark.slow
def test_the_config_chooses_devices_and_not_results(tmp_path):
    rows = {}
    for name, section in {
        "split": {"fsdp": 4, "model": 2, "steps_per_dispatch": 2},
        "pmap": {"mode": "pmap", "steps_per_dispatch": 4},
    }.items():
        config = get_config("smoke")
        config.train.update(steps=8, log_every=4, eval_every=8, checkpoint_every=4, batch_size=64)
        config.parallel.update(section)
        (tmp_path / name).mkdir()
        assert modes.train(Experiment.from_config(config), tmp_path / name) == 0
        rows[name] = training.read_metrics(tmp_path / name / "metrics.jsonl")
    figures = {
        name: [[row["step"], row["loss"], row["gradient_norm"], row.get("eval_loss", 0)] for row in part]
        for name, part in rows.items()
    }
    np.testing.assert_allclose(figures["split"], figures["pmap"], rtol=1e-5)
