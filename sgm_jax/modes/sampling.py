"""Sampling, and the fit of a sampler to the network."""

import pathlib
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from sgm_jax import fitted, report, sampling
from sgm_jax.experiment import Experiment
from sgm_jax.meshes import collect, spread
from sgm_jax.modes.shared import CALIBRATION, SAMPLES, Unsuitable, held_out_batch, is_image, stream
from sgm_jax.progress import progress
from sgm_jax.shapes import per_example_keys
from sgm_jax.stored import trained

GRID = 100  # images in the sample grid


def draw(
    experiment: Experiment, workdir: pathlib.Path, params: Any, count: int, guidance: float | None = None
) -> np.ndarray:
    """Draw `count` samples as raw data, in batches whose size changes nothing but memory.

    Each batch is split over the devices if they divide it.

    The scale of guidance is the config's unless given.
    """
    return np.concatenate(list(batches(experiment, workdir, params, count, guidance=guidance)))


def batches(
    experiment: Experiment,
    workdir: pathlib.Path,
    params: Any,
    count: int,
    *,
    start: int = 0,
    randomness: int = SAMPLES,
    guidance: float | None = None,
) -> Iterator[np.ndarray]:
    """Yield samples as raw data, a batch at a time.

    Args:
        experiment: of the network.
        workdir: folder with what was fitted to it.
        params: the network's parameters.
        count: samples in all.
        start: number of the first one wanted; it is the same sample wherever one starts.
        randomness: the stream they are drawn from.
        guidance: its scale, the config's unless given.
    """
    section = experiment.config.sampling
    label, options = experiment.sampling_labels(count), fitted.sampler(experiment, workdir)
    keys = per_example_keys(stream(experiment, randomness), count)
    for first in progress(range(start, count, section.batch_size), desc="sampling", unit="batch"):
        # A last, smaller batch is filled up so that the compiled sampler serves it too.
        index = np.minimum(np.arange(first, first + section.batch_size), count - 1)
        part_keys, part_label = spread((keys[index], None if label is None else jnp.asarray(label[index])))
        process = experiment.process(params, part_label, guidance)
        out = sampling.sample(part_keys, process, (len(index), *experiment.dataset.shape), **options)
        yield collect(experiment.scaling.to_raw(out.x))[: count - first]


def sample(experiment: Experiment, workdir: pathlib.Path) -> int:
    """Draw samples into `samples.npz`, `samples.png` and a page of their own; returns the exit code."""
    experiment, params = trained(experiment, workdir)
    samples = draw(experiment, workdir, params, experiment.config.sampling.count)
    save_samples(samples, experiment.sampling_labels(len(samples)), workdir)
    page = report.write(
        workdir / "samples",
        report.Report(
            title=f"{experiment.config.data.name}: samples",
            config=experiment.config.to_dict(),
            **beside_data(experiment, samples),
        ),
    )
    print(f"page: {page}")
    return 0


def beside_data(experiment: Experiment, samples: np.ndarray) -> dict[str, Any]:
    """Return what a page shows of the samples, and as many held-out examples where there are any."""
    shown = samples[:GRID] if is_image(experiment) else samples
    real = {"data": held_out_batch(experiment, len(shown))["x"]} if len(experiment.dataset.test) else {}
    return {"samples": shown} | real


def save_samples(samples: np.ndarray, label: np.ndarray | None, workdir: pathlib.Path) -> None:
    """Write samples, and the classes they were drawn for where there are any, to the run's folder."""
    labels: dict[str, Any] = {} if label is None else {"label": label}
    np.savez_compressed(workdir / "samples.npz", x=samples, **labels)
    if samples.ndim == 4:
        report.save_png(workdir / "samples.png", report.grid(samples[:GRID]))
    print(f"{len(samples)} samples in {workdir / 'samples.npz'}")


def fit(experiment: Experiment, workdir: pathlib.Path) -> int:
    """Fit the config's sampler to the network and write it to `fitted_<solver>_<steps>.npz`; returns the exit code."""
    schedule = experiment.config.sampling.schedule
    if schedule != "fitted":
        raise Unsuitable(f"mode 'fit' needs --config.sampling.schedule=fitted, got {schedule!r}")
    experiment, params = trained(experiment, workdir)
    fitted.fit(stream(experiment, CALIBRATION), experiment, workdir, params)
    return 0
