"""One call for any checkpoint: what it is follows from its content."""

import dataclasses
import importlib
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict

from sgm_jax.convert import archives
from sgm_jax.convert.archives import Archive
from sgm_jax.convert.pickles import Record
from sgm_jax.convert.pretrained import FILE, Pretrained, from_archive
from sgm_jax.convert.published import PUBLISHED
from sgm_jax.naming import choose, unknown
from sgm_jax.scaling import Scaling

Config = Mapping[str, Any] | str | pathlib.Path
WEIGHTS = ("ema", "raw")


class Format(NamedTuple):
    """How a project's files are converted.

    Attributes:
        module: the module of `sgm_jax.convert` with a function of the format's name.
        size: flag of the images' height and width, sections joined by dots.
        channels: flag of their channels.
    """

    module: str
    size: str
    channels: str


FORMATS = {
    "score_sde_pytorch": Format("score_sde", "data.image_size", "data.num_channels"),
    "score_sde_flax": Format("score_sde", "data.image_size", "data.num_channels"),
    "ncsn": Format("ncsn", "data.image_size", "data.channels"),
    "edm": Format("edm", "img_resolution", "img_channels"),
    "diffusers": Format("diffusers", "sample_size", "in_channels"),
    "consistency": Format("consistency", "image_size", "in_channels"),
}
OWN = "sgm_jax"
# A name that only one project's state_dict has, for files that are nothing but one.
MARKS = {
    "begin_conv.weight": "ncsn",
    "input_blocks.0.0.weight": "consistency",
    "all_modules.0.weight": "score_sde_pytorch",
    "all_modules.0.W": "score_sde_pytorch",
}


def load(
    path: str | pathlib.Path, format: str | None = None, config: Config | None = None, weights: str = "ema"
) -> Pretrained:
    """Load a checkpoint of any known project, or one of this library's own files; nothing in it is run.

    Args:
        path: a checkpoint of score_sde_pytorch, NCSN or NCSNv2 (`.pth`), of score_sde or score_flow (flax's msgpack),
            of EDM (`.pkl`), of consistency models (`.pt`), a folder of diffusers, or a file or workdir with what
            `Pretrained.save` wrote.
        format: one of `FORMATS` or "sgm_jax"; found out from the content unless given.
        config: the reference's flags, for files that hold none: a dict, a JSON file, or the name of a published
            config in `PUBLISHED`, such as "ve/cifar10_ncsnpp_continuous". Unless given, `<stem>.json` beside the file.
        weights: "ema" for the averaged weights, where the file has any, or "raw" for those that were averaged.

    Returns:
        The network with its parameters, SDE and prediction, and the shape and scaling of its data.

    Raises:
        FileNotFoundError: if there is no such file, or none with its flags.
        ValueError: if the file is damaged or of no known format, the config is missing or does not fit, or tensors
            are missing, left over or of a wrong shape.
    """
    path = pathlib.Path(path)
    if format is not None:
        choose("format", format, dict.fromkeys([*FORMATS, OWN]))
    choose("weights", weights, dict.fromkeys(WEIGHTS))
    if (path / FILE).is_file():
        path = path / FILE
    archive = archives.read(path)
    try:
        format = format or recognise(archive)
        if format == OWN:
            return from_archive(path, archive)
        flags, options = _flags(path, archive, format, config)
        tensors = TENSORS[format](archive.content, weights)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a checkpoint of format {format!r}: {error!r}") from error
    convert = getattr(importlib.import_module(f"sgm_jax.convert.{FORMATS[format].module}"), format)
    pretrained = convert(tensors, flags, **options)
    return dataclasses.replace(
        pretrained,
        shape=_shape(format, flags),
        scaling=Scaling(256, *pretrained.network.data_range),
        card={"format": format, "file": path.name, "weights": weights},
    )


def recognise(archive: Archive) -> str:
    """Return the name of the format that an archive's content has.

    Raises:
        ValueError: if it is none of the known ones.
    """
    content = archive.content
    if archive.kind == "safetensors" and OWN in archive.metadata:
        return OWN
    if archive.kind in ("folder", "msgpack"):
        return {"folder": "diffusers", "msgpack": "score_sde_flax"}[archive.kind]
    if archive.kind == "pickle" and isinstance(content, dict) and isinstance(content.get("ema"), Record):
        return "edm"
    if isinstance(content, list) and content and isinstance(content[0], dict):
        return "ncsn"
    if isinstance(content, dict):
        if {"model", "ema", "step"} <= set(content):
            return "score_sde_pytorch"
        names = {str(name).removeprefix("module.") for name in content}
        for mark, format in MARKS.items():
            if mark in names:
                return format
    raise ValueError(f"the format of this {archive.kind} file must be one of {', '.join([*FORMATS, OWN])}, got another")


def _flags(
    path: pathlib.Path, archive: Archive, format: str, config: Config | None
) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Return the reference's flags, from the file, the argument or beside the file, and the converter's options."""
    if format == "diffusers":
        return archive.metadata["config"], {"scheduler": archive.metadata.get("scheduler")}
    if format == "edm":
        network = archive.content["ema"]
        if network.state["_init_args"]:
            raise ValueError(f"{path} holds a network made with positional arguments, which have no names")
        return {**network.state["_init_kwargs"], "precond": network.kind}, {}
    beside = path.with_suffix(".json")
    if config is None and beside.is_file():
        config = beside
    if config is None:
        raise ValueError(
            f"config must be given for {path} (--source_config of the launcher), as files of {format} hold none: a "
            f"dict of flags, a JSON file (also as {beside.name} beside it), or one of {', '.join(PUBLISHED)}"
        )
    if isinstance(config, Mapping):
        return config, {}
    if str(config) in PUBLISHED:
        return PUBLISHED[str(config)], {}
    if not pathlib.Path(config).is_file():
        if pathlib.Path(config).suffix == ".json":
            raise FileNotFoundError(f"no file {str(config)!r} with the flags of {path}")
        raise unknown("config, unless a JSON file,", str(config), PUBLISHED)
    return archives.read_json(pathlib.Path(config)), {}


def _shape(format: str, flags: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return height, width and channels of the images."""
    flat: dict[str, Any] = flatten_dict(dict(flags), sep=".")
    _, size, channels = FORMATS[format]
    height, width = np.broadcast_to(flat[size], 2).tolist()
    return height, width, flat.get(channels, 3)


# ----------------------------------------------------------------------------------------------- tensors of a format


def _score_sde_pytorch(content: Mapping[str, Any], weights: str) -> Mapping[str, np.ndarray]:
    if "model" not in content:
        return _only(content, weights)
    model = content["model"]
    if weights == "raw":
        return model
    # The averages stand in a list: those of the parameters that are trained, in the order of the modules.
    trained = [name for name, array in model.items() if not _is_fixed(name, array)]
    averages = content["ema"]["shadow_params"]
    if [model[name].shape for name in trained] != [array.shape for array in averages]:
        raise ValueError(f"the {len(averages)} averaged weights do not match the model's {len(trained)} parameters")
    return {**model, **dict(zip(trained, averages, strict=True))}


def _is_fixed(name: str, array: np.ndarray) -> bool:
    """Tell whether a tensor is never trained: the noise levels, and the frequencies of a Fourier embedding."""
    return name.endswith("sigmas") or (name.endswith(".W") and array.ndim == 1)


def _score_sde_flax(content: Mapping[str, Any], weights: str) -> Mapping[str, Any]:
    params = content["params_ema"] if weights == "ema" else content["optimizer"]["target"]
    return params["params"] if set(params) == {"params"} else params


def _ncsn(content: Any, weights: str) -> Mapping[str, np.ndarray]:
    if isinstance(content, dict):
        return _only(content, weights)
    # NCSNv2: model, optimizer, epoch, step, averages; NCSN: model, optimizer.
    averaged = len(content) > 4 and weights == "ema"
    return content[4] if averaged else content[0]


def _edm(content: Mapping[str, Any], weights: str) -> Mapping[str, np.ndarray]:
    return archives.state_dict(_only(content["ema"], weights))


def _only(content: Any, weights: str) -> Any:
    if weights == "raw":
        raise ValueError("weights must be 'ema' for a file that holds one set of weights only, got 'raw'")
    return content


TENSORS = {
    "score_sde_pytorch": _score_sde_pytorch,
    "score_sde_flax": _score_sde_flax,
    "ncsn": _ncsn,
    "edm": _edm,
    "diffusers": _only,
    "consistency": _only,
}
