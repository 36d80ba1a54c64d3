"""Equal layers one after the other, compiled once: a scan over layers whose parameters stay where they were."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree


class Given(NamedTuple):
    """What a layer of a scan is called with, in place of what its name stands for.

    Attributes:
        params: parameters by the names of a cell's layers.
        dropout: a key, or None.
    """

    params: Mapping[str, PyTree]
    dropout: Array | None


def call(make: Callable[..., nn.Module], name: str, given: Given | None, *inputs: Any) -> Array:
    """Call the layer `make(name=name)` of the module that is being called, or with parameters that are given."""
    if given is None:
        return make(name=name)(*inputs)
    rngs = {} if given.dropout is None else {"dropout": given.dropout}
    return cast(Array, make(parent=None).apply({"params": given.params[name]}, *inputs, rngs=rngs))


def through(
    module: nn.Module,
    scan: bool,
    cells: Sequence[tuple[str, ...]],
    step: Callable[[tuple[str, ...], Given | None, Array, Array | None], Array],
    h: Array,
    others: Sequence[Array] | None = None,
) -> list[Array]:
    """Take `h` through cells of layers; returns what comes out of each.

    With `scan`, neighbouring cells whose parameters have the same shapes are one `jax.lax.scan`: programs are smaller,
    parameters and results are the same, and dropout draws other numbers.

    Args:
        module: the module that is being called, whose layers they are.
        scan: whether to.
        cells: the names of each cell's layers.
        step: `(names, given, h, other) -> h`, which calls a cell's layers by `call`.
        h: what goes into the first.
        others: what else each cell is given, one an entry.
    """
    given: Sequence[Any] = [None] * len(cells) if others is None else others
    outputs = []
    for run in _runs(module, cells) if scan and not module.is_initializing() else [[i] for i in range(len(cells))]:
        names = cells[run[0]]
        if len(run) == 1:
            outputs.append(step(names, None, outputs[-1] if outputs else h, given[run[0]]))
            continue
        trees = [
            {name: module.variables["params"][own] for name, own in zip(names, cells[i], strict=True)} for i in run
        ]
        keys = jax.random.split(module.make_rng("dropout"), len(run)) if module.has_rng("dropout") else None
        inputs = (jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees), keys)
        inputs += (None if others is None else jnp.stack([others[i] for i in run]),)

        def body(h, inputs, names=names):
            params, key, other = inputs
            h = step(names, Given(params, key), h, other)
            return h, h

        _, out = jax.lax.scan(body, outputs[-1] if outputs else h, inputs)
        outputs += list(out)
    return outputs


def _runs(module: nn.Module, cells: Sequence[tuple[str, ...]]) -> list[list[int]]:
    """Return the cells' indices in runs of neighbours with parameters of the same shapes."""

    def shapes(index: int) -> Any:
        trees = [module.variables["params"][name] for name in cells[index]]
        leaves, structure = jax.tree.flatten(trees)
        return [(leaf.shape, leaf.dtype) for leaf in leaves], structure

    return [list(run) for _, run in itertools.groupby(range(len(cells)), key=shapes)]
