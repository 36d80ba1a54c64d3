"""Samples of one model drawn in several ways, judged side by side."""

import ast
import dataclasses
import pathlib
import time
from typing import Any

import jax
import numpy as np

from sgm_jax import report
from sgm_jax.checks import check_sampling
from sgm_jax.experiment import Experiment
from sgm_jax.modes.quality import measure_quality, train_judge
from sgm_jax.modes.sampling import draw
from sgm_jax.modes.shared import Unsuitable, write_json
from sgm_jax.naming import unknown
from sgm_jax.samplers import OPTIONS
from sgm_jax.sampling import evaluations
from sgm_jax.stored import trained

FIGURES = ("frechet", "frechet_floor", "confident")
GUIDED = (*FIGURES, "class_accuracy")  # figures by the scale of guidance
SHOWN = 10  # samples of each


def compare_guidance(experiment: Experiment, workdir: pathlib.Path) -> int:
    """Score samples of several scales of guidance into `guidance.json` and a page; returns the exit code."""
    section = experiment.config.sampling
    if section.label is None:
        raise Unsuitable("mode 'guidance' needs a sampling.label, got None")
    experiment, params = trained(experiment, workdir)
    judge = train_judge(experiment)
    rows, pictures = [], []
    for scale in section.guidance_scales:
        samples = draw(experiment, workdir, params, section.count, scale)
        quality = measure_quality(experiment, samples, judge)
        rows.append({"scale": scale} | {name: quality[name] for name in GUIDED})
        pictures.append(samples[:SHOWN])
        print(f"guidance {scale:g}: " + ", ".join(f"{name} {rows[-1][name]:.3g}" for name in GUIDED))
    write_json(workdir / "guidance.json", rows)
    return _page(experiment, workdir, "guidance", guidance=rows, guided=np.stack(pictures))


def compare_samplers(experiment: Experiment, workdir: pathlib.Path) -> int:
    """Score samples of the samplers that the config names into `samplers.json` and a page; returns the exit code.

    Raises:
        Unsuitable: if one of them is not usable, before any is tried.
    """
    experiment, params = trained(experiment, workdir)
    ways = {given: with_sampling(experiment, given) for given in experiment.config.sampling.compared}
    judge = train_judge(experiment)
    rows, pictures = [], []
    for given, way in ways.items():
        start = time.perf_counter()
        samples = draw(way, workdir, params, way.config.sampling.count)
        seconds = time.perf_counter() - start
        quality = measure_quality(way, samples, judge)
        rows.append({"sampler": given, "evaluations": _evaluations(way), "seconds": seconds})
        rows[-1] |= {name: quality[name] for name in FIGURES}
        pictures.append(samples[:SHOWN])
        print(f"{given}: {rows[-1]['evaluations'] or 'unknown'} evaluations, Fréchet distance {quality['frechet']:.2f}")
    write_json(workdir / "samplers.json", rows)
    return _page(experiment, workdir, "samplers", samplers=rows, compared=np.stack(pictures))


def with_sampling(experiment: Experiment, given: str) -> Experiment:
    """Return the experiment with other fields in its section on sampling.

    Args:
        experiment: the experiment.
        given: `field=value,field=value`; options of a solver that are not among them are the solver's own.

    Raises:
        Unsuitable: if it cannot be read, or is not what can be sampled by.
    """
    config = experiment.config.copy_and_resolve_references()
    try:
        changes: dict[str, Any] = dict.fromkeys(OPTIONS)
        for item in given.split(","):
            name, equals, value = (part.strip() for part in item.partition("="))
            if not equals:
                raise ValueError(f"an entry must be field=value,field=value, got {item!r}")
            if name not in config.sampling:
                raise unknown("a field", name, config.sampling)
            changes[name] = _value(value)
        config.sampling.update(changes)
        check_sampling(config, experiment.sde)
    except (TypeError, ValueError) as error:
        raise Unsuitable(f"sampling.compared {given!r}: {error}") from error
    return dataclasses.replace(experiment, config=config)


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def _evaluations(experiment: Experiment) -> int | None:
    """Return the evaluations a sample, those of guidance not counted; None where steps are adaptive or not known."""
    options = experiment.sampler()
    if options["schedule"] is None:
        return None
    count = evaluations(options["solver"], jax.numpy.asarray(len(options["schedule"]) - 1))
    return None if count is None else int(count) + (options["final"] == "tweedie")


def _page(experiment: Experiment, workdir: pathlib.Path, name: str, **fields: Any) -> int:
    title = f"{experiment.config.data.name}: {name}"
    page = report.write(workdir / name, report.Report(title=title, config=experiment.config.to_dict(), **fields))
    print(f"page: {page}")
    return 0
