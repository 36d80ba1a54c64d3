"""The weights of InceptionV3 of 2015-12-05, from the PyTorch file that everybody measures FID with."""

import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict

from sgm_jax.convert import archives

SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
DEFAULT = pathlib.Path("~/.cache/sgm_jax/weights-inception-2015-12-05-6726825d.pth")
EPSILON = 1e-3  # of the batch normalisations
KIND = "inception-2015-12-05"


class InceptionWeights(NamedTuple):
    """Parameters of InceptionV3, and what they are called.

    Attributes:
        params: for `sgm_jax.evaluation.inception`.
        name: the first eight digits of the SHA-256 of the file they came from.
    """

    params: dict[str, Any]
    name: str


def inception(path: str | pathlib.Path | None = None, sha256: str | None = SHA256) -> InceptionWeights:
    """Read the weights of InceptionV3.

    A PyTorch file is checked and converted once: the result is kept beside it, as `<stem>.safetensors`.

    Args:
        path: `weights-inception-2015-12-05-6726825d.pth` of torch-fidelity, which is also pytorch-fid's
            `pt_inception-2015-12-05-6726825d.pth`, or what was converted from it; `DEFAULT` unless given.
        sha256: what the PyTorch file must have; None for weights of one's own.

    Raises:
        FileNotFoundError: if there is no such file; the message says where to get it.
        ValueError: if its checksum is another, or it holds another network.
    """
    path = pathlib.Path(path or DEFAULT).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no Inception weights at {str(path)!r}: download {URL} there (95 MB, sha256 {SHA256})")
    if path.suffix == ".safetensors":
        return _read(path)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if sha256 is not None and found != sha256:
        raise ValueError(f"{path} must have the sha256 {sha256}, got {found}: download it again from {URL}")
    converted = path.with_suffix(".safetensors")
    if converted.is_file() and (weights := _read(converted)).name == found[:8]:
        return weights
    weights = InceptionWeights(from_state_dict(archives.read(path).content), found[:8])
    save(weights, converted)
    return weights


def from_state_dict(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the parameters of our network from a PyTorch `state_dict`, batch normalisations folded.

    `scale = gamma / sqrt(var + eps)`, `bias = beta - mean scale`, in float64.

    Raises:
        ValueError: if it holds another network.
    """
    flat = {}
    try:
        for name in state:
            unit, _, tensor = name.rpartition(".conv.")
            if tensor == "weight":
                flat[(*unit.split("."), "conv", "kernel")] = np.asarray(state[name]).transpose(2, 3, 1, 0)
                gamma, beta, mean, var = (
                    np.asarray(state[f"{unit}.bn.{key}"], np.float64)
                    for key in ("weight", "bias", "running_mean", "running_var")
                )
                scale = gamma / np.sqrt(var + EPSILON)
                flat[(*unit.split("."), "scale")] = scale.astype(np.float32)
                flat[(*unit.split("."), "bias")] = (beta - mean * scale).astype(np.float32)
        flat[("fc", "kernel")], flat[("fc", "bias")] = np.asarray(state["fc.weight"]).T, np.asarray(state["fc.bias"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"the file must hold the state_dict of InceptionV3 of 2015-12-05, lacks {error}") from error
    if flat[("fc", "kernel")].shape != (2048, 1008):
        raise ValueError(f"the last layer must have shape (2048, 1008), got {flat[('fc', 'kernel')].shape}")
    return unflatten_dict({path: np.ascontiguousarray(array) for path, array in flat.items()})


def save(weights: InceptionWeights, path: pathlib.Path) -> None:
    """Write the parameters as safetensors."""
    partial = path.with_suffix(".partial")
    tensors: dict[str, Any] = flatten_dict(weights.params, sep="/")
    safetensors.numpy.save_file(tensors, partial, metadata={"kind": KIND, "name": weights.name})
    partial.rename(path)


def _read(path: pathlib.Path) -> InceptionWeights:
    archive = archives.read(path)
    if archive.metadata.get("kind") != KIND:
        raise ValueError(f"{path} must hold {KIND}, got {archive.metadata.get('kind')!r}")
    return InceptionWeights(unflatten_dict(archive.content, sep="/"), archive.metadata["name"])
