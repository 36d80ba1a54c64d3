"""Measure samples while they are drawn: nothing but sums is kept, and a killed measurement goes on where it was."""

import dataclasses
import json
import pathlib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from sgm_jax.evaluation.extractors import Extractor
from sgm_jax.evaluation.frechet import gaussian_distance
from sgm_jax.evaluation.inception_score import ScoreSums
from sgm_jax.evaluation.moments import Moments
from sgm_jax.evaluation.statistics import Reference, Statistics

MARKS = 5  # counts that the distance is extrapolated from

Images = Shaped[np.ndarray, "b h w c"]


@dataclasses.dataclass(frozen=True)
class Gathered:
    """What is kept of the features of the first `done` images.

    Args:
        done: how many images there were.
        pool: moments of the features.
        spatial: of those of sFID.
        scores: sums for the Inception score.
        features: the first features themselves [n, d].
        distances: Fréchet distances of the first `n` images, a row `(n, distance)` each [k, 2].
    """

    done: int = 0
    pool: Moments | None = None
    spatial: Moments | None = None
    scores: ScoreSums | None = None
    features: Float[np.ndarray, "n d"] | None = None
    distances: Float[np.ndarray, "k 2"] = dataclasses.field(default_factory=lambda: np.zeros((0, 2)))


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be kept of how many images.

    Args:
        count: images in all.
        keep: features kept themselves, for the metrics that need them.
        splits: of the Inception score, 0 for none.
        spatial: names of further features whose moments are kept: "spatial", or none.
        reference: what the distance is told from at a few counts, for its extrapolation.
    """

    count: int
    keep: int = 0
    splits: int = 0
    spatial: tuple[str, ...] = ()
    reference: Statistics | None = None

    @property
    def marks(self) -> list[int]:
        """Counts at which the distance is told: evenly up to all images, from more than the features where possible."""
        if self.reference is None:
            return []
        first = max(self.count // MARKS, min(2 * len(self.reference.mean), self.count // 2), 2)
        return sorted({*np.linspace(first, self.count, MARKS).astype(int).tolist()})


def gather(
    extractor: Extractor,
    batches: Callable[[int], Iterable[Images]],
    plan: Plan,
    start: Gathered | None = None,
    save: Callable[[Gathered], None] = lambda gathered: None,
    every: int = 10,
) -> Gathered:
    """Measure images as they come.

    Args:
        extractor: what they are measured by.
        batches: makes an iterator over all images from the given number on, the same ones each time.
        plan: what is kept.
        start: what was kept before; nothing unless given.
        save: called with what is kept, every few batches.
        every: batches between calls of `save`.

    Returns:
        What is kept of all of them; the same, to rounding, however often it was interrupted.

    Raises:
        ValueError: if there are fewer images than planned, or the extractor lacks features that are.
    """
    gathered = start or Gathered()
    if gathered.done < plan.count:
        for number, images in enumerate(_until(batches(gathered.done), plan.count - gathered.done), 1):
            # The distance is told at exactly the counts that are marked.
            for part in np.split(images, [mark - gathered.done for mark in _within(plan.marks, gathered, images)]):
                gathered = _add(gathered, extractor(part), plan)
            if number % every == 0:
                save(gathered)
    if gathered.done < plan.count:
        raise ValueError(f"count must be at most the {gathered.done} images there are, got {plan.count}")
    save(gathered)
    return gathered


def _until(batches: Iterable[Images], count: int) -> Iterator[Images]:
    for images in batches:
        yield images[:count]
        count -= len(images)
        if count <= 0:
            return


def _within(marks: list[int], gathered: Gathered, images: Images) -> list[int]:
    return [mark for mark in marks if gathered.done < mark < gathered.done + len(images)]


def _add(gathered: Gathered, outputs: Mapping[str, np.ndarray], plan: Plan) -> Gathered:
    for name in ("pool", *plan.spatial, *(["logits"] if plan.splits else [])):
        if name not in outputs:
            raise ValueError(f"the feature network must give {name!r}, got {', '.join(outputs)}")
    pool = outputs["pool"]
    done = gathered.done + len(pool)
    kept = pool[: max(plan.keep - gathered.done, 0)]
    moments = _plus(gathered.pool, pool)
    distances = gathered.distances
    if done in plan.marks:
        assert plan.reference is not None  # or there were no marks
        distance = gaussian_distance(Statistics.of(moments), plan.reference)
        distances = np.concatenate([distances, [[done, distance]]])
    scores = gathered.scores
    if plan.splits:
        scores = scores or ScoreSums.empty(plan.count, outputs["logits"].shape[1], plan.splits)
        scores = scores.add(outputs["logits"])
    return Gathered(
        done,
        moments,
        _plus(gathered.spatial, outputs["spatial"]) if plan.spatial else None,
        scores,
        kept if gathered.features is None else np.concatenate([gathered.features, kept]),
        distances,
    )


def _plus(moments: Moments | None, features: np.ndarray) -> Moments:
    block = Moments.of(features)
    return block if moments is None else moments + block


def write(path: pathlib.Path, gathered: Gathered, measured: Mapping[str, Any]) -> None:
    """Write what is kept so far, whole or not at all.

    Args:
        path: an `.npz` file.
        gathered: what is kept.
        measured: everything that the measurement depends on, by name.
    """
    arrays = {"measured": json.dumps(measured), "done": gathered.done, "distances": gathered.distances}
    for name in ("pool", "spatial", "scores"):
        part = getattr(gathered, name)
        if part is not None:
            arrays |= {f"{name}.{field.name}": getattr(part, field.name) for field in dataclasses.fields(part)}
    if gathered.features is not None:
        arrays["features"] = gathered.features
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, **arrays)
    partial.replace(path)


def read(path: pathlib.Path, measured: Mapping[str, Any]) -> Gathered:
    """Return what was kept of this very measurement; nothing if there is none, or it was of another one."""
    try:
        # Opened here, as numpy leaves what it cannot read open.
        with path.open("rb") as opened, np.load(opened) as file:
            if json.loads(str(file["measured"])) != json.loads(json.dumps(measured)):
                return Gathered()
            parts: dict[str, Any] = {}
            for name, kind in (("pool", Moments), ("spatial", Moments), ("scores", ScoreSums)):
                fields = [field.name for field in dataclasses.fields(kind)]
                if f"{name}.{fields[0]}" in file:
                    arrays = {field: file[f"{name}.{field}"] for field in fields}
                    parts[name] = kind(**{k: v.item() if v.ndim == 0 else v for k, v in arrays.items()})
            features = file["features"] if "features" in file else None
            return Gathered(int(file["done"]), features=features, distances=file["distances"], **parts)
    except (FileNotFoundError, zipfile.BadZipFile, EOFError):
        return Gathered()


def as_reference(gathered: Gathered, name: str) -> Reference:
    """Return what was gathered of a data set as reference statistics."""
    spatial = None if gathered.spatial is None else Statistics.of(gathered.spatial, name)
    assert gathered.pool is not None  # as there are images
    return Reference(Statistics.of(gathered.pool, name), spatial, gathered.features)
