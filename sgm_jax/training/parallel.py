"""One pure step on many devices: over a mesh by `jit`, or replicated by `pmap`.

The mesh has three axes. `data` and `fsdp` split the batch; `fsdp` splits parameters, their averages and the optimiser's
state besides, which are gathered layer by layer where they are used (fully sharded data parallelism); `model` splits
the output channels of each layer. What is computed is the same for every mesh, up to rounding.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int, PyTree

from sgm_jax.training.state import Batch, TrainState

AXES = ("data", "fsdp", "model")
ROWS = ("data", "fsdp")  # the axes that split a batch
SMALL = 1024  # arrays of fewer numbers are not worth splitting


def make_mesh(
    data: int = -1,
    fsdp: int = 1,
    model: int = 1,
    devices: Sequence[jax.Device] | None = None,  # pyright: ignore[reportInvalidTypeForm]
) -> Mesh:
    """Lay out devices along the axes `data`, `fsdp` and `model`.

    Args:
        data: devices along `data`; -1 for all that remain.
        fsdp: devices along `fsdp`.
        model: devices along `model`.
        devices: all of every host unless given.

    Raises:
        ValueError: if the three do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    count, wanted = len(devices), f"got data={data}, fsdp={fsdp}, model={model}"
    if fsdp < 1 or model < 1 or (data < 1 and data != -1):
        raise ValueError(f"parallel.fsdp and model must be at least 1, and data too or -1, {wanted}")
    if count % (fsdp * model):
        possible = ", ".join(str(n) for n in range(1, count + 1) if count % n == 0)
        raise ValueError(f"parallel.fsdp * model must divide the {count} devices ({possible} would do), {wanted}")
    remaining = count // (fsdp * model)
    if data not in (-1, remaining):
        raise ValueError(
            f"parallel.data * fsdp * model must be the {count} devices (data={remaining}, or -1, would do), {wanted}"
        )
    return jax.make_mesh((remaining, fsdp, model), AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices)


def check_batch(batch_size: int, accumulate: int, devices: int) -> None:
    """Check that devices and slices of accumulation divide the batch.

    Args:
        batch_size: examples in the batch.
        accumulate: slices that it is worked through in.
        devices: devices that split it: those along `data` and `fsdp`.

    Raises:
        ValueError: if they do not, naming the nearest numbers that would do.
    """
    unit = accumulate * devices
    if batch_size % unit:
        below = batch_size // unit * unit
        possible = f"{below} or {below + unit}" if below else str(unit)
        raise ValueError(
            f"train.batch_size must be a multiple of {unit}, the {devices} devices along data and fsdp times "
            f"train.accumulate={accumulate} ({possible} would do), got {batch_size}"
        )


def array_sharding(mesh: Mesh, shape: tuple[int, ...]) -> NamedSharding:
    """Return how one array of the state is split: its last axis over `model`, the largest other one over `fsdp`.

    An axis is split only where the devices divide it, the last one only of arrays with two or more (the output
    channels of a kernel); small arrays are replicated.
    """
    axes: list[str | None] = [None] * len(shape)
    if math.prod(shape) >= SMALL:
        if len(shape) > 1 and shape[-1] % mesh.shape["model"] == 0 and mesh.shape["model"] > 1:
            axes[-1] = "model"
        free = [i for i, size in enumerate(shape) if axes[i] is None and size % mesh.shape["fsdp"] == 0]
        if free and mesh.shape["fsdp"] > 1:
            axes[max(free, key=lambda i: shape[i])] = "fsdp"
    return NamedSharding(mesh, PartitionSpec(*axes))


def state_sharding(mesh: Mesh, shapes: PyTree) -> PyTree:
    """Return the sharding of every array of a state.

    Args:
        mesh: the devices.
        shapes: the state, or the shapes of one as from `jax.eval_shape`.
    """
    return jax.tree.map(lambda leaf: array_sharding(mesh, leaf.shape), shapes)


def gather(mesh: Mesh, params: PyTree) -> PyTree:
    """Return parameters as layers use them: whole along `fsdp`, while their gradients come back split.

    Left alone, the partitioner may split a layer's computation by its parameters in place of its examples; of U-Nets on
    meshes that are split along all three axes, XLA was then seen to compute wrong gradients (jax 0.10).
    """
    split = state_sharding(mesh, params)
    whole = jax.tree.map(_without_fsdp, split)

    @jax.custom_vjp
    def gathered(params):
        return jax.lax.with_sharding_constraint(params, whole)

    gathered.defvjp(
        lambda params: (gathered(params), None),
        lambda _, cotangent: (jax.lax.with_sharding_constraint(cotangent, split),),
    )
    return gathered(params)


def batch_sharding(mesh: Mesh, steps: int = 1) -> NamedSharding:
    """Return the sharding of a batch [b, ...], or of `steps` > 1 of them, stacked [steps, b, ...]."""
    return NamedSharding(mesh, PartitionSpec(ROWS) if steps == 1 else PartitionSpec(None, ROWS))


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of what every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def several(train_step: Callable, steps: int) -> Callable:
    """Return the step of `steps` updates on stacked batches [steps, b, ...], whose metrics are stacked too."""
    return train_step if steps == 1 else lambda state, batches: jax.lax.scan(train_step, state, batches)


def compile_step(train_step: Callable, mesh: Mesh, shapes: TrainState, steps: int = 1) -> Callable:
    """Return the jitted step on a mesh, which may be called, or lowered for shapes; the state is donated.

    Args:
        train_step: the pure step, as from `make_train_step`.
        mesh: the devices.
        shapes: the state, or the shapes of one.
        steps: updates in one call.
    """
    state = state_sharding(mesh, shapes)
    return jax.jit(
        several(functools.partial(train_step, gather=functools.partial(gather, mesh)), steps),
        in_shardings=(state, batch_sharding(mesh, steps)),
        out_shardings=(state, replicated(mesh)),
        donate_argnums=0,
    )


@dataclasses.dataclass(frozen=True)
class Program:
    """A training step ready to run.

    Args:
        step: `(state, batches) -> (state, metrics)`; metrics are scalars, or [steps] for several updates a call.
        init: makes the initial state, each device its own part.
        like: the shapes of the state with their shardings, for restoring one.
        place: puts batches, one for each of the `steps`, where the step expects them.
        steps: updates in one call of `step`.
    """

    step: Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]
    init: Callable[[], TrainState]
    like: TrainState
    place: Callable[[Sequence[Batch]], Batch]
    steps: int = 1


def jit_program(
    train_step: Callable, make_state: Callable[[], TrainState], mesh: Mesh | None = None, steps: int = 1
) -> Program:
    """Compile a step with `jit`, over a mesh or on one device.

    Args:
        train_step: the pure step.
        make_state: returns the initial state.
        mesh: the devices; the first one unless given.
        steps: updates in one call.
    """
    mesh = make_mesh(devices=jax.local_devices()[:1]) if mesh is None else mesh
    shapes = jax.eval_shape(make_state)
    sharding = state_sharding(mesh, shapes)

    def place(batches):
        return _place(_stack(batches), batch_sharding(mesh, steps))

    return Program(
        compile_step(train_step, mesh, shapes, steps),
        jax.jit(make_state, out_shardings=sharding),
        _with_sharding(shapes, sharding),
        place,
        steps,
    )


def pmap_program(
    train_step: Callable, make_state: Callable[[], TrainState], mesh: Mesh | None = None, steps: int = 1
) -> Program:
    """Compile a step with `pmap`: every device holds the whole state and works on its part of the batch.

    Args:
        train_step: the pure step.
        make_state: returns the initial state.
        mesh: the devices, all of them along `data`; the first one unless given.
        steps: updates in one call.

    Raises:
        ValueError: on several hosts.
    """
    if jax.process_count() > 1:
        raise ValueError(f"parallel.mode must be 'jit' on several hosts, got 'pmap' on {jax.process_count()}")
    mesh = make_mesh(devices=jax.local_devices()[:1]) if mesh is None else mesh
    # What pmap itself makes of the devices, so that its second call finds the state as the first one did.
    line = Mesh(mesh.devices.ravel(), ("devices",))
    shapes, whole = jax.eval_shape(make_state), replicated(line)

    def place(batches):
        parts = [jax.tree.map(lambda x: np.reshape(x, (line.size, -1, *np.shape(x)[1:])), batch) for batch in batches]
        return parts[0] if steps == 1 else jax.tree.map(lambda *x: np.stack(x, axis=1), *parts)

    return Program(
        jax.pmap(
            several(functools.partial(train_step, axis_name=line.axis_names[0]), steps),
            line.axis_names[0],
            in_axes=(None, 0),
            out_axes=None,
            devices=list(line.devices),
            donate_argnums=0,
        ),
        jax.jit(make_state, out_shardings=whole),
        _with_sharding(shapes, jax.tree.map(lambda _: whole, shapes)),
        place,
        steps,
    )


PROGRAMS = {"jit": jit_program, "pmap": pmap_program}


def host_rows(mesh: Mesh, batch_size: int) -> Int[np.ndarray, " rows"]:
    """Return which examples of the global batch this host's devices work on, in order."""
    slices = batch_sharding(mesh).addressable_devices_indices_map((batch_size,)).values()
    return np.unique(np.concatenate([np.arange(batch_size)[index] for index in slices]))


def spread(tree: PyTree, mesh: Mesh | None = None) -> PyTree:
    """Split arrays [b, ...] over devices, or put them whole on each where the devices do not divide them.

    Args:
        tree: arrays that every host holds whole.
        mesh: the devices; unless given this host's, or its first one where they do not divide the arrays.
    """
    divided = lambda rows: all(len(leaf) % rows == 0 for leaf in jax.tree.leaves(tree))
    if mesh is None:
        devices = jax.local_devices()
        mesh = make_mesh(devices=devices if divided(len(devices)) else devices[:1])
    rows = mesh.shape["data"] * mesh.shape["fsdp"]
    return jax.device_put(tree, batch_sharding(mesh) if divided(rows) else replicated(mesh))


def _without_fsdp(sharding: NamedSharding) -> NamedSharding:
    axes = (None if axis == "fsdp" else axis for axis in sharding.spec)
    return NamedSharding(sharding.mesh, PartitionSpec(*axes))


def _stack(batches: Sequence[Batch]) -> Batch:
    return batches[0] if len(batches) == 1 else jax.tree.map(lambda *x: np.stack(x), *batches)


def _place(batch: Batch, sharding: NamedSharding) -> Batch:
    """Make global arrays of the part of the batch that this host has read."""
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), batch)


def _with_sharding(shapes: Any, sharding: Any) -> Any:
    return jax.tree.map(lambda leaf, to: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=to), shapes, sharding)
