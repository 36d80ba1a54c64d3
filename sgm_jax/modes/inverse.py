"""Inverse problems: held-out or one's own images, measured and restored."""

import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sgm_jax import data as datasets
from sgm_jax import evaluation, inverse, report
from sgm_jax.experiment import Experiment
from sgm_jax.meshes import collect, spread
from sgm_jax.modes.shared import INVERSE, Unsuitable, held_out_batch, is_restorable, stream, write_json
from sgm_jax.shapes import per_example_keys
from sgm_jax.stored import trained
from sgm_jax.tasks import make_problem, measure, shown, with_singular_vectors


def restore(experiment: Experiment, params: Any) -> dict[str, Any]:
    """Measure images and restore them, given their classes where there are any.

    The restorations are split over the devices if these divide them.

    Returns:
        Raw images `original` [k, ...], `measured` (what the measurement says by itself), `mean`, and `restored`
        [k, draws, ...]; `std` [k, ...] in raw units; figures of each image in `figures`, and of all in `summary`.

    Raises:
        ValueError: if the config's `inverse` section does not suit the images.
        Unsuitable: if there are no images.
    """
    section, scaling = experiment.config.inverse, experiment.scaling
    operator_key, noise_key, key = jax.random.split(stream(experiment, INVERSE), 3)
    operator, options = make_problem(operator_key, section, experiment.dataset.shape)
    original, label = images(experiment)
    y = measure(noise_key, operator, scaling.to_model(jnp.asarray(original)))
    score_fn = experiment.score_fn(params, None if label is None else jnp.tile(label, section.draws))
    known = with_singular_vectors(operator)
    start = time.perf_counter()
    keys = spread(per_example_keys(key, section.draws * len(original)))
    solved = jax.tree.map(collect, inverse.solve(keys, experiment.sde, score_fn, known, y, **options))
    seconds = time.perf_counter() - start
    per_unit = scaling.levels / (scaling.high - scaling.low) if scaling.levels else 1.0
    to_raw = lambda x: np.asarray(scaling.to_raw(jnp.asarray(x)))
    result = {
        "original": original,
        "measured": to_raw(jax.vmap(lambda y: shown(operator, y, scaling.low))(y)),
        "mean": to_raw(solved.mean),
        "std": np.asarray(solved.std) * per_unit,
        "restored": np.moveaxis(np.stack([to_raw(x) for x in solved.x]), 0, 1),
    }
    figures = {name: compare(experiment, original, result[name]) for name in ("measured", "mean")} | {
        "sample": compare(experiment, original, result["restored"][:, 0])
    }
    summary = {
        "task": section.task,
        "method": section.method,
        "images": len(original),
        "draws": section.draws,
        **{f"{a}_{b}": float(np.mean(values)) for a, row in figures.items() for b, values in row.items()},
        "residual": float(jnp.mean(solved.residual)),
        "evaluations": None if solved.nfe is None else int(solved.nfe),
        "seconds": seconds,
    }
    return result | {"figures": figures, "summary": summary}


def images(experiment: Experiment) -> tuple[np.ndarray, Any]:
    """Return raw images [k, h, w, c] to measure, held out or one's own, and their classes if known.

    Raises:
        Unsuitable: if there are none, or one's own cannot be read.
    """
    section, dataset = experiment.config.inverse, experiment.dataset
    if section.input is None:
        batch = held_out_batch(experiment, section.count)
        return batch["x"], experiment.labels(batch)
    size, _, channels = dataset.shape
    try:
        given = datasets.read_images(section.input, size, channels)
        return datasets.gather(given, range(min(section.count, len(given))))["x"], None
    except ValueError as error:
        raise Unsuitable(f"inverse.input cannot be used: {error}") from error


def compare(experiment: Experiment, original: np.ndarray, other: np.ndarray) -> dict[str, np.ndarray]:
    """Return peak signal-to-noise ratios in decibels [k] and structural similarities [k].

    The window of the similarities is narrower than its authors' where images are narrower than that.
    """
    levels = experiment.dataset.levels
    extent = float(levels - 1 if levels else experiment.scaling.high - experiment.scaling.low)
    pairs = jnp.asarray(original, float), jnp.asarray(other, float)
    weights = evaluation.narrow_weights(min(original.shape[1:3]))
    return {
        "psnr": np.asarray(jax.vmap(lambda a, b: evaluation.psnr(a, b, data_range=extent))(*pairs)),
        "ssim": np.asarray(jax.vmap(lambda a, b: evaluation.ssim(a, b, data_range=extent, weights=weights))(*pairs)),
    }


def invert(experiment: Experiment, workdir: pathlib.Path) -> int:
    """Restore images into `inverse.npz`, `inverse.json`, `inverse.png` and a page; returns the exit code."""
    if not is_restorable(experiment):
        raise Unsuitable(
            "mode 'inverse' needs images and data.transform 'affine', got data of shape "
            f"{experiment.dataset.shape} and {experiment.config.data.transform!r}"
        )
    result = restore(*trained(experiment, workdir))
    save_restored(result, workdir)
    page = report.write(
        workdir / "inverse",
        report.Report(
            title=f"{experiment.config.data.name}: {experiment.config.inverse.task}",
            inverse=result,
            config=experiment.config.to_dict(),
        ),
    )
    print(f"page: {page}")
    return 0


def save_restored(result: dict[str, Any], workdir: pathlib.Path) -> None:
    """Write restored images and their figures to the run's folder."""
    pictures = {name: result[name] for name in ("original", "measured", "mean", "std", "restored")}
    np.savez_compressed(workdir / "inverse.npz", **pictures)
    write_json(workdir / "inverse.json", result["summary"] | {"per_image": result["figures"]})
    rows = [result["original"], result["measured"], *np.moveaxis(result["restored"], 1, 0)]
    report.save_png(workdir / "inverse.png", report.grid(np.concatenate(rows), columns=len(rows[0])))
    s = result["summary"]
    print(
        f"{s['images']} images by {s['method']} ({s['task']}): PSNR {s['mean_psnr']:.2f} dB, SSIM {s['mean_ssim']:.3f} "
        f"(measured: {s['measured_psnr']:.2f} dB, {s['measured_ssim']:.3f}), {s['evaluations']} evaluations, "
        f"{s['seconds']:.0f} s"
    )
