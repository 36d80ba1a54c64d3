"""Quality of samples, of one checkpoint or of all."""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sgm_jax import data as datasets
from sgm_jax import evaluation, report
from sgm_jax.evaluation import statistics
from sgm_jax.experiment import Experiment
from sgm_jax.modes import features
from sgm_jax.modes.quality import measure_quality, save_quality, train_judge
from sgm_jax.modes.sampling import batches
from sgm_jax.modes.shared import SAMPLES, SELECTION, Unsuitable, examples, write_json
from sgm_jax.naming import choose
from sgm_jax.stored import checkpoint_steps, trained

EXACT = 2000  # points at most for the exact Wasserstein distance
NARROW = 64  # numbers in a point at most for the classifier of C2ST, whose layers are ten times as wide


class Judge(NamedTuple):
    """A way to judge samples.

    Attributes:
        criterion: the figure that models are chosen by, the less the better.
        measure: maps experiment, parameters and the number of a stream of randomness to figures by name.
        save: writes figures to the run's folder, and prints them.
    """

    criterion: str
    measure: Callable[[Experiment, Any, int], dict[str, Any]]
    save: Callable[[dict[str, Any], pathlib.Path], None]


def by_classifier(experiment: Experiment, workdir: pathlib.Path) -> Judge:
    """Judge images by a classifier trained on the labels of the data."""
    classifier = train_judge(experiment)

    def measure(experiment: Experiment, params: Any, randomness: int) -> dict[str, Any]:
        return measure_quality(experiment, _draw(experiment, workdir, params, randomness), classifier)

    return Judge("frechet", measure, save_quality)


def by_inception(experiment: Experiment, workdir: pathlib.Path) -> Judge:
    """Judge images in the features of Inception."""
    section = experiment.config.evaluation
    count = section.count or experiment.config.sampling.count
    try:
        evaluation.plan(section.metrics, count)
    except ValueError as error:
        raise Unsuitable(str(error)) from error
    network = features.extractor(experiment)
    found = features.reference(experiment, workdir, network)
    evaluation.plan(section.metrics, count, reference=found)

    def measure(experiment: Experiment, params: Any, randomness: int) -> dict[str, Any]:
        return features.measure_samples(experiment, workdir, params, network, found, randomness)

    return Judge("fid", measure, save_figures)


def by_points(experiment: Experiment, workdir: pathlib.Path) -> Judge:
    """Judge raw data as they are by distances between clouds of points, beside that of training from held-out data."""
    size = int(np.prod(experiment.dataset.shape))
    distances = {name: distance for name, distance in POINTS.items() if size <= NARROW or name != "c2st"}
    sources = [examples(experiment, split) for split in ("train", "test")]

    def measure(experiment: Experiment, params: Any, randomness: int) -> dict[str, Any]:
        drawn = _draw(experiment, workdir, params, randomness)
        count = min(len(drawn), *map(len, sources))
        clouds = drawn[:count], *(datasets.gather(source, range(count))["x"] for source in sources)
        samples, data, held_out = (np.asarray(cloud, np.float64).reshape(count, size) for cloud in clouds)
        figures = {"samples": count}
        for name, distance in distances.items():
            figures |= {name: distance(samples, held_out), f"{name}_floor": distance(data, held_out)}
        return figures

    return Judge("sliced_wasserstein", measure, save_figures)


POINTS = {
    "sliced_wasserstein": evaluation.sliced_wasserstein,
    "wasserstein": lambda a, b: evaluation.wasserstein(a[:EXACT], b[:EXACT]),
    "mmd2": evaluation.median_mmd2,
    "c2st": evaluation.c2st,
}
FEATURES = {"classifier": by_classifier, "inception": by_inception, "points": by_points}


def evaluate(experiment: Experiment, workdir: pathlib.Path) -> int:
    """Score fresh samples into `quality.json` or `evaluation.json`; returns the exit code."""
    section = experiment.config.evaluation
    judge = choose("evaluation.features", section.features, FEATURES)
    if section.checkpoints == "all":
        return select(experiment, workdir, judge(experiment, workdir))
    experiment, params = trained(experiment, workdir)
    judge = judge(experiment, workdir)
    judge.save(judge.measure(experiment, params, SAMPLES), workdir)
    return 0


def select(experiment: Experiment, workdir: pathlib.Path, judge: Judge) -> int:
    """Score samples of every checkpoint, and fresh samples of the best, into `selection.json` and a page.

    The least of several noisy figures is too good, so the one that is reported comes from samples that had no say in
    the choice.
    """
    rows = []
    for step in checkpoint_steps(experiment.config, workdir):
        figures = judge.measure(*trained(experiment, workdir, step), SELECTION)
        rows.append({"step": step} | {name: value for name, value in figures.items() if np.ndim(value) == 0})
        print(f"step {step}: {judge.criterion} {figures[judge.criterion]:.4g}")
    best = min(rows, key=lambda row: row[judge.criterion])
    figures = judge.measure(*trained(experiment, workdir, best["step"]), SAMPLES)
    result = {"criterion": judge.criterion, "checkpoints": rows, "best": best["step"], "figures": figures}
    write_json(workdir / "selection.json", result)
    judge.save(figures, workdir)
    page = report.write(
        workdir / "selection",
        report.Report(
            title=f"{experiment.config.data.name}: checkpoints", selection=result, config=experiment.config.to_dict()
        ),
    )
    print(
        f"best of {len(rows)}: step {best['step']}, {judge.criterion} {figures[judge.criterion]:.4g} on other samples "
        f"than it was chosen by ({best[judge.criterion]:.4g}); page: {page}"
    )
    return 0


def save_figures(result: dict[str, Any], workdir: pathlib.Path) -> None:
    """Write figures to the run's folder."""
    write_json(workdir / "evaluation.json", result)
    print(", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in result.items()))


def measure_statistics(experiment: Experiment, workdir: pathlib.Path) -> int:
    """Measure the data into `statistics.npz`, which evaluations may name; returns the exit code."""
    network = features.extractor(experiment)
    found = features.measure_data(experiment, workdir, network)
    path = workdir / features.STATISTICS
    statistics.save(path, found)
    print(f"statistics of {found.pool.count} examples by {network.name} in {path}")
    return 0


def _draw(experiment: Experiment, workdir: pathlib.Path, params: Any, randomness: int) -> np.ndarray:
    count = experiment.config.evaluation.count or experiment.config.sampling.count
    return np.concatenate(list(batches(experiment, workdir, params, count, randomness=randomness)))
