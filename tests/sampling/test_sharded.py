"""Sampling over a mesh: each device solves its part of the batch on its own."""

import functools
import re

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.tree_util import Partial

import sgm_jax as sgm
from sgm_jax.networks import MLP

SHAPE = (64, 3)
COLLECTIVE = re.compile(r"\b(all-reduce|all-gather|all-to-all|collective-permute|collective-broadcast|reduce-scatter)")
NETWORK = MLP(width=16, layers=1, init_scale=1.0)
SAMPLERS = {
    "euler": (sgm.ProbabilityFlow, dict(solver=diffrax.Euler(), steps=6)),
    "multistep": (sgm.ProbabilityFlow, dict(solver=sgm.DPMSolverPP(), steps=6)),
    "corrected": (sgm.ReverseSDE, dict(solver=sgm.PredictorCorrector(), steps=6)),
}
ADAPTIVE = (sgm.ProbabilityFlow, dict(solver=diffrax.Tsit5(), rtol=1e-5, atol=1e-5))


def mesh_of(shape=(8,), names=("data",), axis_type=AxisType.Auto):
    return jax.make_mesh(shape, names, axis_types=(axis_type,) * len(shape))


@functools.cache
def parameters():
    return NETWORK.init(jax.random.key(1), jnp.ones(1), jnp.ones((1, 3)))


def sampler(way, mesh=None, **options):
    """Return a function `(key, params) -> Samples`, not yet compiled."""
    process, own = way
    sde = sgm.VP()

    def draw(key, params):
        score = sgm.as_score(sde, "edm", Partial(NETWORK.apply, params))
        return sgm.sample(key, process(sde, score), SHAPE, mesh=mesh, **own | options)

    return draw


@pytest.mark.parametrize("name", SAMPLERS)
def test_fixed_steps_give_the_same_samples_on_eight_devices_without_communication(name):
    args = jax.random.key(0), parameters()
    alone = jax.jit(sampler(SAMPLERS[name], save=3))(*args)
    compiled = jax.jit(sampler(SAMPLERS[name], mesh_of(), save=3)).lower(*args).compile()
    split = compiled(*args)
    assert not COLLECTIVE.search(compiled.as_text())
    assert len(split.x.sharding.device_set) == 8 and split.x.addressable_shards[0].data.shape == (8, 3)
    assert split.nfe == alone.nfe
    print(
        name,
        [float(np.abs(a - b).max()) for a, b in zip(jax.tree.leaves(split), jax.tree.leaves(alone), strict=True)],
        [np.std(a) for a in jax.tree.leaves(alone)],
    )
    for ours, theirs in zip(jax.tree.leaves(split), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_adaptive_steps_agree_to_tolerance_and_count_the_busiest_device():
    args = jax.random.key(0), parameters()
    compiled = jax.jit(sampler(ADAPTIVE, mesh_of())).lower(*args).compile()
    split, alone = compiled(*args), jax.jit(sampler(ADAPTIVE))(*args)
    print(np.abs(split.x - alone.x).max(), split.nfe, alone.nfe, set(COLLECTIVE.findall(compiled.as_text())))
    np.testing.assert_allclose(split.x, alone.x, atol=1e-3)
