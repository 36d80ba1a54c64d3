"""A reference's tensors by name, each to be taken exactly once."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from jaxtyping import PyTree

Parameters = dict[str, Any]
SHOWN = 6  # names of each kind in the line of an error


class StateDict:
    """Take a reference's tensors one by one, in this library's layouts.

    A tensor that is missing gives None and is remembered, so that `finish` can name everything that is wrong at once.

    Args:
        tensors: arrays by the reference's names, in PyTorch's layouts.
        ignore: tells for a name whether its tensor has no counterpart here and may be left over.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], ignore: Callable[[str], bool] | None = None):
        self._tensors = tensors
        self._ignore = ignore or (lambda name: False)
        self._taken: dict[str, np.ndarray] = {}
        self._missing: list[str] = []

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def take(self, name: str) -> np.ndarray | None:
        """Return the tensor as it is."""
        return self._take(name, lambda array: array)

    def conv(self, name: str) -> Parameters:
        """Return a convolution: `<name>.weight` OIHW as `kernel` HWIO, and `<name>.bias` where there is one."""
        return self._with_bias(name, "kernel", _convolution)

    def dense(self, name: str) -> Parameters:
        """Return a dense layer: `<name>.weight` [out, in] as `kernel` [in, out], and its bias where there is one."""
        return self._with_bias(name, "kernel", lambda weight: weight.T)

    def pointwise(self, name: str) -> Parameters:
        """Return a 1 x 1 convolution as a dense layer: `<name>.weight` [out, in, 1...] as `kernel` [in, out]."""
        return self._with_bias(name, "kernel", _pointwise)

    def projections(self, name: str, axes: str, heads: int) -> dict[str, Parameters]:
        """Return the dense layers `query`, `key`, `value` of an attention that are one 1 x 1 convolution.

        Args:
            name: of the convolution.
            axes: how its output channels are laid out, slowest first: "p" query, key, value; "h" heads; "c" channels.
            heads: number of heads.
        """
        leaves = {"kernel": self.take(f"{name}.weight")}
        leaves |= {"bias": self.take(f"{name}.bias")} if f"{name}.bias" in self else {}
        if any(leaf is not None and leaf.shape[0] % (3 * heads) for leaf in leaves.values()):
            return {"query": leaves}  # As it is, for `finish` to say that its shape is wrong.
        sizes = [{"p": 3, "h": heads, "c": -1}[axis] for axis in axes]

        def part(leaf, index):
            if leaf is None:
                return None
            chosen = np.take(leaf.reshape(*sizes, *leaf.shape[1:]), index, axis=axes.index("p"))
            return _pointwise(chosen.reshape(-1, *leaf.shape[1:]))

        parts = enumerate(("query", "key", "value"))
        return {title: {key: part(leaf, i) for key, leaf in leaves.items()} for i, title in parts}

    def norm(self, name: str) -> Parameters:
        """Return a normalisation: `<name>.weight` as `scale`, and `<name>.bias`."""
        return {"scale": self.take(f"{name}.weight"), "bias": self.take(f"{name}.bias")}

    def _with_bias(self, name, leaf, layout) -> Parameters:
        module = {leaf: self._take(f"{name}.weight", layout)}
        return module | ({"bias": self.take(f"{name}.bias")} if f"{name}.bias" in self else {})

    def _take(self, name, layout):
        if name not in self._tensors:
            self._missing.append(name)
            return None
        if name in self._taken:
            raise ValueError(f"tensor {name!r} was taken twice: the conversion is wrong")
        self._taken[name] = layout(np.asarray(self._tensors[name]))
        return self._taken[name]

    def finish(self, params: PyTree, network: nn.Module, *example: Any, **options: Any) -> PyTree:
        """Check that every tensor was used and fits the network; return the parameters as float32 JAX arrays.

        Args:
            params: the tree of taken arrays, as the network names them.
            network: the module they are for.
            *example: arguments of one call of the network, as arrays or shapes.
            **options: keyword arguments of that call.

        Raises:
            ValueError: if tensors are missing, left over or of a wrong shape, naming them.
        """
        shapes = jax.eval_shape(lambda *args: network.init(jax.random.key(0), *args, **options), *example)["params"]
        wanted: dict[str, Any] = flatten_dict(shapes, sep="/")
        given: dict[str, Any] = flatten_dict(params, sep="/")
        surplus = [name for name in self._tensors if name not in self._taken and not self._ignore(name)]
        missing = [*self._missing, *(f"{path} (of the network)" for path in wanted if path not in given)]
        surplus += [f"{path} (of the network)" for path in given if path not in wanted]
        origin = {id(array): name for name, array in self._taken.items()}
        misshapen = [
            f"{origin.get(id(array), path)} ({path}: {list(array.shape)}, expected {list(wanted[path].shape)})"
            for path, array in given.items()
            if array is not None and path in wanted and array.shape != wanted[path].shape
        ]
        complain("the tensors do not fit the network", missing, surplus, misshapen)
        return jax.tree.map(lambda array: jnp.asarray(array, jnp.float32), params)


def compare(what: str, given: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Check that two flat dicts of arrays, or of their shapes, have the same names and shapes.

    Raises:
        ValueError: if they have not, naming all the differences.
    """
    misshapen = [
        f"{name} ({list(array.shape)}, expected {list(wanted[name].shape)})"
        for name, array in given.items()
        if name in wanted and array.shape != wanted[name].shape
    ]
    missing, surplus = [n for n in wanted if n not in given], [n for n in given if n not in wanted]
    complain(what, missing, surplus, misshapen)


def _convolution(weight: np.ndarray) -> np.ndarray:
    """Turn OIHW into HWIO; leave what is no such kernel as it is, for `finish` to say that its shape is wrong."""
    return weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight


def _pointwise(weight: np.ndarray) -> np.ndarray:
    """Turn [out, in, 1...] into [in, out]; leave vectors, and what is no such kernel, as they are."""
    return weight.reshape(weight.shape[:2]).T if weight.ndim > 1 and set(weight.shape[2:]) <= {1} else weight


def complain(what: str, missing: list[str], surplus: list[str], misshapen: list[str]) -> None:
    """Raise one error that names the tensors that are missing, unexpected or of a wrong shape, if any are.

    Its line has the first of each kind, a note that tracebacks show all of them.

    Raises:
        ValueError: if a list is not empty.
    """
    kinds = {"missing": missing, "unexpected": surplus, "of a wrong shape": misshapen}
    first = [f"{kind}: {_first(names)}" for kind, names in kinds.items() if names]
    if first:
        error = ValueError(f"{what}; {'; '.join(first)}")
        error.add_note("\n".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if len(names) > SHOWN))
        raise error


def _first(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
