"""A trained network with all that is needed to use it."""

import dataclasses
import functools
import json
import os
import pathlib
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float, Num, PyTree

from sgm_jax.convert import archives
from sgm_jax.convert.description import describe, restore
from sgm_jax.convert.names import compare
from sgm_jax.naming import choose
from sgm_jax.scaling import AbstractScaling, Scaling
from sgm_jax.score import AbstractPrediction, NetworkScore
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch

FILE = "model.safetensors"
OBJECTS = ("network", "sde", "prediction", "scaling")
DTYPES = ("float32", "float16")


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A trained network, its parameters, and what they mean.

    Attributes:
        network: the flax module, called as `(noise label [b], x [b, ...], label=, augment=)`.
        params: its parameters.
        sde: the SDE it was trained for.
        prediction: what it predicts, and how its noise label and input follow from `(t, x)`.
        config: the flags it was made from, as plain values.
        shape: shape of one example; None if it is not known.
        scaling: from raw data to the model's, such as 8-bit images to [-1, 1].
        card: where it is from, as plain values.
    """

    network: nn.Module
    params: PyTree
    sde: AbstractSDE
    prediction: AbstractPrediction
    config: dict[str, Any]
    shape: tuple[int, ...] | None = None
    scaling: AbstractScaling = Scaling(None)
    card: dict[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_experiment(cls, experiment: Any, params: PyTree) -> "Pretrained":
        """Return the network of an `Experiment` with parameters, such as a checkpoint's averaged ones."""
        return cls(
            experiment.network,
            params,
            experiment.sde,
            experiment.prediction,
            experiment.config.to_dict(),
            experiment.dataset.shape,
            experiment.scaling,
            {"format": "sgm_jax", "data": experiment.dataset.name},
        )

    def apply(
        self,
        labels: Num[Array, " b"],
        x: Batch,
        class_labels: Num[Array, "b ..."] | None = None,
        augment_labels: Float[Array, "b m"] | None = None,
    ) -> Batch:
        """Return the network's raw output [b, ...] for the labels that the network is fed.

        Args:
            labels: noise labels [b], in the network's own measure.
            x: input as the network is fed it, [b, ...].
            class_labels: classes [b], or their one-hot vectors [b, k].
            augment_labels: what was done to the images [b, m], for networks trained with it.
        """
        labelled = {"label": class_labels, "augment": augment_labels}
        given: dict[str, Any] = {name: value for name, value in labelled.items() if value is not None}
        return cast(Array, self.network.apply({"params": self.params}, labels, x, **given))

    @functools.cached_property
    def score_fn(self) -> NetworkScore:
        """The score function `score_fn(t, x) -> score` [b, ...], a pytree whose leaves are the parameters."""
        return self.conditional()

    def conditional(self, class_labels: Num[Array, "b ..."] | None = None) -> NetworkScore:
        """Return the score function given classes [b] (or one-hot vectors [b, k]); None for no class."""
        given = {} if class_labels is None else {"label": class_labels}
        return NetworkScore(self.sde, self.prediction, jax.tree_util.Partial(self._network, self.params, **given))

    @functools.cached_property
    def _network(self):
        # One and the same function object each time, so that compiled samplers are found again.
        def network(params, labels, x, **given):
            return self.network.apply({"params": params}, labels, x, **given)

        return network

    def parameter_shapes(self) -> PyTree:
        """Return the shapes of the parameters that the network has on data of `shape`.

        Raises:
            ValueError: if `shape` is not known.
        """
        if self.shape is None:
            raise ValueError("shape of one example must be known, as in dataclasses.replace(pretrained, shape=...)")
        augment = getattr(self.network, "augment_labels", 0)
        given: dict[str, Any] = {"augment": jnp.zeros((1, augment))} if augment else {}

        def init(x):
            inputs = self.prediction.inputs(self.sde, jnp.full(1, self.sde.t_max), x)
            return self.network.init(jax.random.key(0), *inputs, **given)["params"]

        return jax.eval_shape(init, jax.ShapeDtypeStruct((1, *self.shape), jnp.float32))

    def save(self, path: str | pathlib.Path, dtype: str = "float32") -> None:
        """Write one safetensors file: parameters by their "/"-joined paths, everything else as JSON in its metadata.

        Args:
            path: file to write.
            dtype: "float32", or "float16" for half the size.

        Raises:
            ValueError: if the dtype is another or cannot hold the parameters, `shape` is not known, or the network,
                SDE or prediction is not made of this library's parts.
        """
        choose("dtype", dtype, dict.fromkeys(DTYPES))
        flat = {name: np.asarray(leaf) for name, leaf in flatten_dict(self.params, sep="/").items()}
        compare("the parameters are not the network's", flat, flatten_dict(self.parameter_shapes(), sep="/"))
        with np.errstate(over="ignore"):
            tensors = {name: np.ascontiguousarray(leaf, dtype) for name, leaf in flat.items()}
        lost = [name for name, tensor in tensors.items() if np.isinf(tensor).any() and np.isfinite(flat[name]).all()]
        if lost:
            raise ValueError(f"dtype {dtype!r} cannot hold {', '.join(lost)}")
        fields = {name: describe(getattr(self, name)) for name in OBJECTS}
        fields |= {"class": type(self).__name__, "shape": self.shape, "config": self.config, "card": self.card}
        path = pathlib.Path(path)
        part = path.with_name(path.name + ".part")
        safetensors.numpy.save_file(tensors, part, {"sgm_jax": json.dumps(fields, default=_plain)})
        os.replace(part, path)

    @staticmethod
    def load(path: str | pathlib.Path) -> "Pretrained":
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is not one of this library's, is damaged, or holds other tensors than its network,
                naming all that are missing, unexpected or of a wrong shape.
        """
        return from_archive(path, archives.read(path))


def from_archive(path: str | pathlib.Path, archive: archives.Archive) -> Pretrained:
    """Return the network that a file of this library holds; raises as `Pretrained.load` does."""
    if "sgm_jax" not in archive.metadata:
        raise ValueError(f"{path} is not a file of sgm_jax, but of kind {archive.kind}")
    try:
        fields = json.loads(archive.metadata["sgm_jax"])
        kinds = {kind.__name__: kind for kind in (Pretrained, *Pretrained.__subclasses__())}
        objects = {name: restore(fields[name]) for name in OBJECTS}
        kind, shape = choose("class", fields["class"], kinds), tuple(fields["shape"])
        pretrained = kind(params={}, config=fields["config"], shape=shape, card=fields["card"], **objects)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} has a description that cannot be used: {error}") from error
    wanted = flatten_dict(pretrained.parameter_shapes(), sep="/")
    compare(f"{path} holds other tensors than its network", archive.content, wanted)
    params = {name: jnp.asarray(tensor, jnp.float32) for name, tensor in archive.content.items()}
    return dataclasses.replace(pretrained, params=unflatten_dict(params, sep="/"))


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.generic | np.ndarray | jax.Array) else list(value)
