"""The programs of an experiment, lowered for devices that need not be there: the training step and the sampler."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from sgm_jax import sampling
from sgm_jax.experiment import Experiment
from sgm_jax.meshes import batch_sharding, make_mesh, rows
from sgm_jax.planning.hlo import Number
from sgm_jax.planning.topology import Topology
from sgm_jax.shapes import per_example_keys
from sgm_jax.training import parallel


@dataclasses.dataclass(frozen=True)
class Lowered:
    """A program before it is compiled.

    Args:
        program: the program.
        arguments: bytes of its arguments on each device, by name.
        batch_size: examples that one run works on, on all devices together.
    """

    program: jax.stages.Lowered
    arguments: dict[str, Number]
    batch_size: int


def mesh_of(experiment: Experiment, topology: Topology) -> jax.sharding.Mesh:
    """Return the mesh that the config's `parallel` section makes of a topology's devices.

    Raises:
        ValueError: if it does not multiply to their number.
    """
    section = experiment.config.parallel
    return make_mesh(section.data, section.fsdp, section.model, topology.devices)


def training_step(experiment: Experiment, topology: Topology) -> Lowered:
    """Lower the training step as `parallel.jit_program` does, one update a call.

    Raises:
        ValueError: if the mesh does not fit the devices, or they do not divide the batch, saying what would do.
    """
    train, mesh = experiment.config.train, mesh_of(experiment, topology)
    parallel.check_batch(train.batch_size, train.accumulate, rows(mesh))
    state, batch = jax.eval_shape(experiment.init), experiment.batch_shapes(train.batch_size)
    split, along = parallel.state_sharding(mesh, state), batch_sharding(mesh)
    arguments = {
        "parameters": bytes_of(state.params, split.params),
        "average": bytes_of(state.ema_params, split.ema_params),
        "optimizer": bytes_of(state.opt_state, split.opt_state),
        "batch": bytes_of(batch, jax.tree.map(lambda _: along, batch)),
    }
    step = parallel.compile_step(experiment.train_step(), mesh, state)
    return Lowered(step.lower(state, batch), arguments, train.batch_size)


def sampler(experiment: Experiment, topology: Topology) -> Lowered:
    """Lower the sampler of the config's `sampling` section, its batch filled up to a multiple of the devices."""
    mesh = mesh_of(experiment, topology)
    count = math.ceil(experiment.config.sampling.batch_size / rows(mesh)) * rows(mesh)
    shape, options = (count, *experiment.dataset.shape), experiment.sampler()
    _, params = experiment.trained(jax.eval_shape(experiment.init).params)
    keys = jax.eval_shape(lambda: per_example_keys(jax.random.key(0), count))
    label = None
    if experiment.config.sampling.label is not None:
        label = jax.ShapeDtypeStruct((count,), jnp.int32)

    def draw(params, keys, label):
        return sampling.sample(keys, experiment.process(params, label), shape, **options).x

    split, along = parallel.state_sharding(mesh, params), batch_sharding(mesh)
    jitted = jax.jit(draw, in_shardings=(split, along, along), out_shardings=along)
    return Lowered(jitted.lower(params, keys, label), {"parameters": bytes_of(params, split)}, count)


def bytes_of(shapes: PyTree, shardings: PyTree) -> Number:
    """Return the bytes that arrays take on each device."""
    sizes = jax.tree.map(
        lambda leaf, sharding: math.prod(sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize, shapes, shardings
    )
    return sum(jax.tree.leaves(sizes))
