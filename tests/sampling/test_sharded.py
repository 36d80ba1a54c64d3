"""Sampling over a mesh: each device solves its part of the batch on its own."""

import functools
import re

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jax.tree_util import Partial

import sgm_jax as sgm
from sgm_jax.sampling import Recorded

SHAPE, DEVICES = (64, 3), 8
SDE = sgm.VP()
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "collective-broadcast", "reduce-scatter")
FIXED = {
    "euler": (sgm.ProbabilityFlow, dict(solver=diffrax.Euler(), steps=6)),
    "multistep": (sgm.ProbabilityFlow, dict(solver=sgm.DPMSolverPP(), steps=6)),
    "corrected": (sgm.ReverseSDE, dict(solver=sgm.PredictorCorrector(), steps=6)),
}
ADAPTIVE = dict(solver=diffrax.Tsit5(), rtol=1e-6, atol=1e-6)


@pytest.fixture(autouse=True)
def double_precision():
    # So that what rounds differently for batches of another size is far below what any mistake would make.
    with jax.enable_x64(True):
        yield


def mesh_of(*lengths, axis_type=AxisType.Auto):
    return jax.make_mesh(lengths, ("data", "model")[: len(lengths)], axis_types=(axis_type,) * len(lengths))


def parameters():
    generator = np.random.default_rng(0)
    shapes = {"inner": (3, 16), "label": (1, 16), "outer": (16, 3)}
    return {name: jnp.asarray(0.5 * generator.standard_normal(shape)) for name, shape in shapes.items()}


def network(params, label, x):
    return jnp.tanh(x @ params["inner"] + label[:, None] @ params["label"]) @ params["outer"]


def draw(keys, params, kind=sgm.ProbabilityFlow, shape=SHAPE, **options):
    process = kind(SDE, sgm.as_score(SDE, "edm", Partial(network, params)))
    return sgm.sample(keys, process, shape, **options)


def assert_same(ours, theirs, tolerance=1e-11):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def collectives(compiled):
    return {name for name in COLLECTIVES if re.search(rf"\b{name}", compiled.as_text())}


@pytest.mark.parametrize("name", FIXED)
def test_fixed_steps_on_eight_devices_are_those_of_one_without_communication(name):
    kind, options = FIXED[name]
    draws = functools.partial(draw, kind=kind, save=3, **options)
    args = jax.random.key(0), parameters()
    compiled = jax.jit(functools.partial(draws, mesh=mesh_of(DEVICES))).lower(*args).compile()
    split = compiled(*args)
    assert not collectives(compiled)
    assert [shard.data.shape for shard in split.x.addressable_shards] == [(8, 3)] * DEVICES
    assert split.trajectory.xt.shape == (3, *SHAPE)
    assert_same(split, draws(*args))


@pytest.mark.slow
def test_adaptive_steps_are_those_of_each_device_alone_and_counted_where_most():
    keys, params = jax.random.split(jax.random.key(0), SHAPE[0]), parameters()
    compiled = jax.jit(functools.partial(draw, mesh=mesh_of(DEVICES), save=3, **ADAPTIVE)).lower(keys, params).compile()
    split = compiled(keys, params)
    parts = [draw(part, params, shape=(8, 3), save=3, **ADAPTIVE) for part in keys.reshape(DEVICES, 8)]
    counts = [int(part.nfe) for part in parts]
    assert int(split.nfe) == max(counts) > min(counts)
    assert_same(split.x, jnp.concatenate([part.x for part in parts]))
    assert_same(split.trajectory.denoised, jnp.concatenate([part.trajectory.denoised for part in parts], axis=1))
    # The largest count is all that the devices tell each other.
    assert collectives(compiled) == {"all-reduce"}


def test_adaptive_steps_agree_with_one_device_to_tolerance():
    args = jax.random.key(0), parameters()
    split, alone = draw(*args, mesh=mesh_of(DEVICES), **ADAPTIVE), draw(*args, **ADAPTIVE)
    assert 0 < np.abs(split.x - alone.x).max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("lengths, axis_type", [((4, 2), AxisType.Auto), ((2, 4), AxisType.Explicit)])
@pytest.mark.parametrize("placed", [False, True])
def test_any_mesh_serves_wherever_the_arrays_are(lengths, axis_type, placed):
    mesh, start, params = (
        mesh_of(*lengths, axis_type=axis_type),
        SDE.prior_sample(jax.random.key(1), SHAPE),
        parameters(),
    )
    alone = draw(jax.random.key(0), params, x_init=start, steps=3)
    if placed:
        params = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
        start = jax.device_put(start, NamedSharding(mesh, PartitionSpec("data")))
    split = draw(jax.random.key(0), params, x_init=start, steps=3, mesh=mesh)
    assert len(split.x.sharding.device_set) == DEVICES
    assert_same(split, alone)


@pytest.mark.slow
def test_gradients_pass_through_the_devices():
    def loss(params, mesh):
        x = draw(jax.random.key(0), params, mesh=mesh, steps=3, adjoint=diffrax.DirectAdjoint()).x
        return jnp.mean(jnp.square(x))

    assert_same(jax.grad(loss)(parameters(), mesh_of(DEVICES)), jax.grad(loss)(parameters(), None))


def test_batch_that_the_devices_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="batch of 12 for 8 devices"):
        draw(jax.random.key(0), parameters(), shape=(12, 3), steps=2, mesh=mesh_of(DEVICES))


def test_noise_of_the_whole_batch_is_refused():
    noise = Recorded(jnp.ones((3, *SHAPE)))
    with pytest.raises(ValueError, match="noise must have the shape"):
        draw(jax.random.key(0), parameters(), steps=2, noise=noise, mesh=mesh_of(DEVICES))
