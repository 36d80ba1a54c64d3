"""The card of a trained network: what it is and where it is from, as a page to read beside its file."""

import math
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import jax

from sgm_jax.convert.description import describe
from sgm_jax.convert.pretrained import Pretrained

USE = """    import jax, sgm_jax as sgm

    model = sgm.convert.Pretrained.load("{file}")
    score_fn = model.{score}
    samples = sgm.sample(jax.random.key(0), sgm.ProbabilityFlow(model.sde, score_fn), {shape}, steps=24).x
    raw = model.scaling.to_raw(samples)

or, with the file in a folder as `model.safetensors`, `sgm-jax --workdir=FOLDER --mode=sample`."""
CLASSES = "conditional(jax.numpy.arange(16) % {classes})  # or model.score_fn, for no class"


def write(pretrained: Pretrained, file: str | pathlib.Path) -> pathlib.Path:
    """Write the card of a network beside the file that `Pretrained.save` wrote, ending in `.md`; returns its path."""
    path = pathlib.Path(file).with_suffix(".md")
    path.write_text(text(pretrained, pathlib.Path(file).name))
    return path


def text(pretrained: Pretrained, file: str) -> str:
    """Return the card of a network, in Markdown.

    Args:
        pretrained: the network; each entry of its `card` that is a mapping becomes a section.
        file: name of the file that holds it.
    """
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(pretrained.params))
    classes = getattr(pretrained.network, "num_classes", 0)
    facts = {
        "network": f"{type(pretrained.network).__name__}, {count:,} parameters",
        "example": f"shape {pretrained.shape}" + (f", one of {classes} classes" if classes else ""),
        "raw data": f"{pretrained.scaling.levels or 'continuous'}" + " values" * bool(pretrained.scaling.levels),
    } | {name: value for name, value in pretrained.card.items() if not isinstance(value, Mapping)}
    score = CLASSES.format(classes=classes) if classes else "score_fn"
    parts = [
        f"# {pretrained.card.get('data', pathlib.PurePath(file).stem)}: {type(pretrained.network).__name__}",
        "## Use",
        USE.format(file=file, score=score, shape=(16, *(pretrained.shape or ()))),
        "## What it is",
        _table(facts.items()),
        f"SDE: {_object(pretrained.sde)}",
        f"Prediction: {_object(pretrained.prediction)}",
        f"Network: {_object(pretrained.network)}",
    ]
    for name, entries in pretrained.card.items():
        if isinstance(entries, Mapping):
            parts += [f"## {name.capitalize()}", _table(entries.items())]
    parts += ["The whole config is in the file: `model.config`."] if pretrained.config else []
    return "\n\n".join(parts) + "\n"


def _table(rows: Iterable[tuple[str, Any]]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {_plain(value)} |" for name, value in rows)])


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)


def _object(value: Any) -> str:
    return f"`{_call(describe(value))}`"


def _call(described: Any) -> str:
    """Return a description as Python has it, without the fields that are None."""
    if isinstance(described, list):
        return f"({', '.join(map(_call, described))}{',' * (len(described) == 1)})"
    if not isinstance(described, dict):
        return f"{described:.6g}" if isinstance(described, float) else repr(described)
    if "constant" in described:
        return described["constant"]
    fields = (f"{name}={_call(value)}" for name, value in described.items() if name != "name" and value is not None)
    return f"{described['name']}({', '.join(fields)})"
