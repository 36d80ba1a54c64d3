"""Ours beside published figures."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from sgm_jax.experiment import Experiment
from sgm_jax.modes.evaluation import by_inception
from sgm_jax.modes.likelihood import measure_likelihood, save_likelihood
from sgm_jax.modes.shared import SAMPLES, Unsuitable, write_json
from sgm_jax.naming import choose
from sgm_jax.stored import trained

BITS = "bits_per_dim"
FIGURES = ("fid", "inception_score", BITS)  # that papers publish
SAMPLES_PUBLISHED = 50_000  # that nearly all of these are from
DEVIATIONS = 2  # within which figures agree


class Row(NamedTuple):
    """One figure.

    Attributes:
        name: of the figure.
        ours: measured here.
        expected: the published figure, and what our number of samples adds to it.
        tolerance: two standard deviations of the difference of two such measurements.
        published: in the paper.
    """

    name: str
    ours: float
    expected: float
    tolerance: float
    published: float

    @property
    def agrees(self) -> bool:
        """Whether ours is what was to be expected, within the tolerance."""
        return bool(abs(self.ours - self.expected) <= self.tolerance)


def reproduce(experiment: Experiment, workdir: pathlib.Path) -> int:
    """Measure what `config.published` holds, and write ours beside it into `reproduction.json`.

    Returns:
        The exit code: 0 whether figures agree or not.

    Raises:
        Unsuitable: if nothing is published, a figure is unknown, or there is no network.
    """
    published = {name: value for name, value in experiment.config.published.items() if value is not None}
    if not published:
        raise Unsuitable(
            "mode 'reproduce' needs figures in config.published, got none; --config=FILE is to be the published "
            "experiment's, as docs/benchmarks.md lists them"
        )
    for name in published:
        choose("config.published", name, dict.fromkeys(FIGURES))
    try:
        experiment, params = trained(experiment, workdir)
    except FileNotFoundError as error:
        raise Unsuitable(
            f"mode 'reproduce' needs a network: train it, or convert a published checkpoint by --mode=convert "
            f"--source=PATH, in this workdir ({error})"
        ) from error
    rows: list[Row] = []
    wanted = [name for name in published if name != BITS]
    if wanted:
        config = experiment.config.copy_and_resolve_references()
        config.evaluation.metrics = tuple(wanted)
        experiment = dataclasses.replace(experiment, config=config)
        judge = by_inception(experiment, workdir)
        figures = judge.measure(experiment, params, SAMPLES)
        judge.save(figures, workdir)
        rows += [compare(name, figures, published[name]) for name in wanted]
    if BITS in published:
        likelihood = measure_likelihood(experiment, workdir, params)
        save_likelihood(likelihood, workdir)
        tolerance = DEVIATIONS * likelihood["standard_error"]
        rows.append(Row(BITS, likelihood[BITS], published[BITS], tolerance, published[BITS]))
    write_json(workdir / "reproduction.json", [row._asdict() | {"agrees": row.agrees} for row in rows])
    print(table(rows))
    return 0


def compare(name: str, figures: Mapping[str, Any], published: float) -> Row:
    """Set a figure of some samples beside one of 50,000.

    A figure's spread falls as the root of the number of samples, and the bias of the FID as the number itself.
    """
    samples = figures["samples"]
    share = samples / SAMPLES_PUBLISHED
    tolerance = DEVIATIONS * figures[f"{name}_standard_error"] * np.sqrt(1 + share)
    bias = figures.get(f"{name}_slope", 0.0) * (1 / samples - 1 / SAMPLES_PUBLISHED)
    return Row(name, figures[name], published + bias, float(tolerance), published)


def table(rows: list[Row]) -> str:
    """Return the figures as text, a line each."""
    lines = [f"{'figure':<16} {'ours':>9} {'published':>10} {'expected':>9} {'tolerance':>10}"]
    for row in rows:
        word = "agrees" if row.agrees else "differs"
        lines.append(
            f"{row.name:<16} {row.ours:9.4g} {row.published:10.4g} {row.expected:9.4g} {row.tolerance:10.2g}  {word}"
        )
    return "\n".join(lines)
