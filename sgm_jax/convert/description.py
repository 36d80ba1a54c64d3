"""SDEs, predictions and networks as plain values that JSON can hold, and back.

An object is a dict of its class's `name` and its fields. Only classes of this library are named, so that a file can
make nothing else.
"""

import dataclasses
import importlib
import inspect
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sgm_jax.naming import choose, set_options

# Where the classes are that a description may name.
ROOMS = (
    *("sgm_jax.sde", "sgm_jax.learned_schedule", "sgm_jax.score", "sgm_jax.labels", "sgm_jax.networks"),
    "sgm_jax.scaling",
)
CONSTANTS = {
    **{name: getattr(jnp, name) for name in ("float16", "bfloat16", "float32")},
    **{name: getattr(nn, name) for name in ("elu", "gelu", "relu", "swish")},
}


def describe(value: Any) -> Any:
    """Return a value as JSON can hold it.

    Raises:
        ValueError: if it is, or holds, something that has no name here, such as a function of the user's.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    if isinstance(value, np.generic | np.ndarray | jax.Array):
        return value.tolist()
    for name, constant in CONSTANTS.items():
        if value is constant:
            return {"constant": name}
    name = type(value).__name__
    if name not in _classes() or not isinstance(value, _classes()[name]):
        raise ValueError(f"{value!r} cannot be saved: it is not an object of {', '.join(ROOMS)}")
    fields = [field.name for field in dataclasses.fields(value) if field.init and field.name not in ("parent", "name")]
    return {"name": name} | {field: describe(getattr(value, field)) for field in fields}


def restore(description: Any) -> Any:
    """Return the value that `describe` made a description of; sequences come back as tuples.

    Raises:
        ValueError: if it names a class or a field that is not known.
    """
    if isinstance(description, list):
        return tuple(restore(item) for item in description)
    if not isinstance(description, dict):
        return description
    if "constant" in description:
        return choose("constant", description["constant"], CONSTANTS)
    name = str(description.get("name"))
    fields = {field: restore(value) for field, value in description.items() if field != "name"}
    constructor = choose("name", name, _classes())
    set_options(name, constructor, fields)  # Which fields are allowed; None stands for itself here.
    return constructor(**fields)


def _classes() -> dict[str, type]:
    rooms = [importlib.import_module(room) for room in ROOMS]
    return {
        name: member
        for room in rooms
        for name, member in vars(room).items()
        if inspect.isclass(member) and member.__module__.startswith(room.__name__) and dataclasses.is_dataclass(member)
        if not inspect.isabstract(member) and not name.startswith("_")
    }
