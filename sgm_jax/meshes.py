"""Devices of all hosts as a mesh, and arrays split over it and collected again.

The mesh has three axes: `data` and `fsdp` split batches, `fsdp` and `model` what `sgm_jax.training.parallel` says.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

AXES = ("data", "fsdp", "model")
ROWS = ("data", "fsdp")  # the axes that split a batch


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


def rows(mesh: Mesh) -> int:
    """Return how many parts a mesh splits a batch into."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def batch_sharding(mesh: Mesh, steps: int = 1) -> NamedSharding:
    """Return the sharding of a batch [b, ...], or of `steps` > 1 of them, stacked [steps, b, ...]."""
    return NamedSharding(mesh, PartitionSpec(ROWS) if steps == 1 else PartitionSpec(None, ROWS))


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of what every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def spread(tree: PyTree, mesh: Mesh | None = None) -> PyTree:
    """Split arrays [b, ...] over devices, or put them whole on each where the devices do not divide them.

    Args:
        tree: arrays that every host holds whole.
        mesh: the devices; those of all hosts unless given, or of one host alone its first where they do not divide the
            arrays.
    """
    divided = lambda parts: all(len(leaf) % parts == 0 for leaf in jax.tree.leaves(tree))
    if mesh is None:
        alone = jax.process_count() == 1 and not divided(jax.device_count())
        mesh = make_mesh(devices=jax.devices()[:1] if alone else None)
    sharding = batch_sharding(mesh) if divided(rows(mesh)) else replicated(mesh)
    return jax.device_put(tree, sharding) if jax.process_count() == 1 else _placed(sharding)(tree)


@functools.cache
def _placed(sharding: NamedSharding) -> Callable[[PyTree], PyTree]:
    """Return the program that puts arrays: across hosts PRNG keys cannot be put anywhere, only computed."""
    return jax.jit(lambda tree: tree, out_shardings=sharding)


def collect(x: Array) -> np.ndarray:
    """Return the whole of an array, which may be split over hosts, on every one of them."""
    here = x.is_fully_addressable or x.is_fully_replicated
    return np.asarray(x if here else multihost_utils.process_allgather(x, tiled=True))
