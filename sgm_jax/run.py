"""The default mode: train, sample, score and report in one go."""

import contextlib
import functools
import pathlib
import platform
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sgm_jax import fitted, modes, report, representation, sampling, stored
from sgm_jax.experiment import Experiment
from sgm_jax.experiments import classifier, consistency, density, likelihood, progressive, reflow
from sgm_jax.sampling import Angle
from sgm_jax.shapes import per_example_keys
from sgm_jax.training import exit_code, read_metrics
from sgm_jax.version import __version__

MOVIE = (36, 24)  # images and frames of the animation
STRIP = (4, 10)  # images and frames of the film strip
PATHS = (4, 9)  # rows and columns of the interpolation


def run(
    experiment: Experiment,
    workdir: pathlib.Path,
    measure_likelihood: modes.MeasureLikelihood = modes.measure_likelihood,
) -> int:
    """Train, then write samples, likelihoods, restorations, quality figures and the page; returns the exit code."""
    start, timings = time.perf_counter(), {}
    with timed(timings, "training"):
        outcome = modes.train_to_end(experiment, workdir)
    if not outcome.finished:
        return exit_code(outcome)
    experiment, params = stored.trained(experiment, workdir)

    if experiment.config.sampling.schedule == "fitted":
        with timed(timings, "fit"):
            if not fitted.is_there(experiment, workdir):
                modes.fit(experiment, workdir)
    fields: dict[str, Any] = {}
    with timed(timings, "samples"):
        samples = modes.draw(experiment, workdir, params, experiment.config.sampling.count)
        modes.save_samples(samples, experiment.sampling_labels(len(samples)), workdir)
        fields |= modes.beside_data(experiment, samples)
    with timed(timings, "films"):
        fields |= films(experiment, workdir, params)
    with timed(timings, "likelihood"):
        fields["likelihood"] = measure_likelihood(experiment, workdir, params)
        modes.save_likelihood(fields["likelihood"], workdir)
    if modes.is_image(experiment):
        with timed(timings, "interpolation"):
            fields["interpolation"] = interpolations(experiment, params)
    if modes.is_restorable(experiment):
        with timed(timings, "inverse problem"):
            fields["inverse"] = modes.restore(experiment, params)
            modes.save_restored(fields["inverse"], workdir)
    if modes.is_labelled(experiment):
        with timed(timings, "quality"):
            fields["quality"] = modes.measure_quality(experiment, samples, modes.train_judge(experiment))
            modes.save_quality(fields["quality"], workdir)
    with timed(timings, "report"):
        page = report.write(
            workdir / "report",
            report.Report(
                title=f"{experiment.config.data.name}: a score-based model",
                curves=read_metrics(workdir / "metrics.jsonl"),
                config=experiment.config.to_dict(),
                timings=timings,
                environment=environment(),
                **fields,
            ),
        )
    print(f"report: {page} ({time.perf_counter() - start:.0f} s in all)")
    return 0


@contextlib.contextmanager
def timed(timings: dict[str, float], name: str):
    """Add the seconds that the block takes to `timings`."""
    start = time.perf_counter()
    yield
    timings[name] = time.perf_counter() - start


def films(experiment: Experiment, workdir: pathlib.Path, params: Any) -> dict[str, np.ndarray]:
    """Record samples on their way from noise to data: a strip of a few states and an animation of many."""
    count, frames = MOVIE
    keys = per_example_keys(modes.stream(experiment, modes.FILM), count)
    shape = (count, *experiment.dataset.shape)
    options: dict[str, Any] = fitted.sampler(experiment, workdir) | {"save": frames}
    label = experiment.sampling_labels(count)
    process = experiment.process(params, None if label is None else jnp.asarray(label))
    path = sampling.sample(keys, process, shape, **options).trajectory
    assert path is not None  # as states are saved
    if not modes.is_image(experiment):
        return {"animation": np.asarray(path.xt), "animation_levels": np.asarray(path.s)}
    show = jax.vmap(experiment.scaling.to_raw)
    # States are shown at unit scale, or the first ones would be out of the range of any screen.
    scale = experiment.config.likelihood.data_scale
    shrink = jnp.minimum(1, scale / (experiment.sde.alpha(experiment.sde.t(path.s)) * jnp.hypot(path.s, scale)))
    noisy = np.asarray(show(path.xt * shrink.reshape(-1, 1, 1, 1, 1)))
    denoised = np.asarray(show(path.denoised))
    examples, steps = STRIP
    kept = np.round(np.linspace(0, frames - 1, steps)).astype(int)
    return {
        "film": np.moveaxis(noisy[kept][:, :examples], 0, 1),
        "film_denoised": np.moveaxis(denoised[kept][:, :examples], 0, 1),
        "film_levels": np.asarray(path.s)[kept],
        "animation": noisy,
        "animation_levels": np.asarray(path.s),
    }


def interpolations(experiment: Experiment, params: Any) -> np.ndarray:
    """Encode pairs of held-out images, walk between their codes, decode: raw images [rows, columns, h, w, c]."""
    rows, columns = PATHS
    section = experiment.config.likelihood
    ends = experiment.scaling.to_model(jnp.asarray(modes.held_out_batch(experiment, 2 * rows)["x"]))
    transport = {"chart": Angle(section.data_scale), "rtol": section.rtol, "atol": section.atol}
    score = experiment.score_fn(params)
    codes = representation.encode(experiment.sde, score, ends, **transport)
    path = representation.interpolate(codes[:rows], codes[rows:], jnp.linspace(0, 1, columns))
    flat = path.reshape(-1, *experiment.dataset.shape)
    decoded = representation.decode(experiment.sde, score, flat, **transport)
    raw = np.asarray(experiment.scaling.to_raw(decoded)).reshape(columns, rows, *experiment.dataset.shape)
    return np.moveaxis(raw, 0, 1)


def environment() -> dict[str, str]:
    """Describe what the run ran on."""
    devices = jax.devices()
    return {
        "sgm_jax": __version__,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "devices": f"{len(devices)} × {devices[0].device_kind}",
    }


MODES = {"run": run, **modes.MODES}
_bounded = {"measure_likelihood": likelihood.measure_bound}
OBJECTIVES = {
    "classifier": (classifier.ClassifierExperiment, classifier.MODES),
    "consistency": (consistency.ConsistencyExperiment, consistency.MODES),
    "density": (density.DensityExperiment, density.MODES),
    "maximum_likelihood": (likelihood.MaximumLikelihoodExperiment, MODES),
    "progressive_distillation": (progressive.ProgressiveExperiment, progressive.MODES),
    "reflow": (reflow.ReflowExperiment, MODES),
    "score": (Experiment, MODES),
    "vdm": (
        likelihood.VariationalExperiment,
        MODES | {"run": functools.partial(run, **_bounded), "likelihood": functools.partial(modes.measure, **_bounded)},
    ),
}
"""What can be learned: the experiment that `config.objective` stands for, and its modes."""
