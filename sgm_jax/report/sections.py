"""The sections of a page: titles, a sentence or two, pictures and tables."""

import base64
import html
import json
import pathlib

import numpy as np

from sgm_jax.report import charts, images
from sgm_jax.report.contents import Array, Report

WIDTH = 900  # pixels a picture is enlarged to at most
SMALL = 420  # and a film


def _picture(directory: pathlib.Path, name: str, content: bytes, alt: str, kind: str) -> str:
    """Save a picture beside the page and return the tag that holds it."""
    (directory / name).write_bytes(content)
    return f'<img class="{kind}" alt="{html.escape(alt)}" src="{_source(content)}">'


def _source(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _grid(directory: pathlib.Path, name: str, pixels: Array, columns: int | None, alt: str, width: int = WIDTH) -> str:
    sheet = images.enlarge(images.grid(pixels, columns), width)
    return _picture(directory, name, images.png(sheet), alt, "pixels")


def _table(rows: list[tuple[str, str, str]], heads: tuple[str, str, str]) -> str:
    head = "".join(f"<th>{html.escape(h)}</th>" for h in heads)
    body = "".join(
        f'<tr><td>{html.escape(a)}</td><td class="number">{html.escape(b)}</td><td>{html.escape(c)}</td></tr>'
        for a, b, c in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


# Sections: (report, directory) -> (title, one or two sentences, HTML), or None if there is nothing to show.


def _samples(report: Report, directory: pathlib.Path):
    if report.samples is None:
        return None
    if report.samples.ndim == 2:
        clouds = {"samples": report.samples} | ({} if report.data is None else {"data": report.data})
        picture = _picture(directory, "samples.png", charts.scatter(clouds), "samples", "chart")
        return "Samples", "Points the model drew, each from nothing but noise.", picture
    drawn = _grid(directory, "samples.png", report.samples, None, "samples")
    body = f"<figure>{drawn}<figcaption>drawn by the model</figcaption></figure>"
    if report.data is not None:
        real = _grid(directory, "data.png", report.data, None, "real examples")
        body += f"<figure>{real}<figcaption>real, held out of training</figcaption></figure>"
        body = f'<div class="pair">{body}</div>'
    return "Samples", "Drawn by the model, each from nothing but noise, beside real ones.", body


def _denoising(report: Report, directory: pathlib.Path):
    parts = []
    for name, film, caption in (
        ("film.png", report.film, "the noisy state, shown at constant contrast"),
        ("film_denoised.png", report.film_denoised, "what the model takes for the clean image at that moment"),
    ):
        if film is not None:
            flat = film.reshape(-1, *film.shape[2:])
            picture = _grid(directory, name, flat, film.shape[1], caption)
            parts.append(f"<figure>{picture}<figcaption>{caption}</figcaption></figure>")
    if not parts:
        return None
    levels = (
        ""
        if report.film_levels is None
        else " Noise levels: " + ", ".join(f"{s:.3g}" for s in report.film_levels) + "."
    )
    return "From noise to data", "Time runs from left to right, noise falling all the way." + levels, "".join(parts)


def _animation(report: Report, directory: pathlib.Path):
    if report.animation is None:
        return None
    if report.animation.ndim == 3:
        frames, kind = charts.frames_of_points(report.animation), "chart"
    else:
        frames, kind = [images.grid(frame) for frame in images.as_bytes(report.animation)], "pixels"
    (directory / "animation.gif").write_bytes(images.animation([images.enlarge(frame, SMALL) for frame in frames]))
    count, levels = len(frames), report.animation_levels
    labels = [f"frame {number} of {count}" for number in range(1, count + 1)]
    if levels is not None:
        labels = [f"{label}, noise level {s:.3g}" for label, s in zip(labels, levels, strict=True)]
    text = (
        "Samples taking shape. Move the slider, with the arrow keys too, or play the film (animation.gif is the same)."
    )
    return "Animation", text, _player([images.png(frame) for frame in frames], labels, "samples taking shape", kind)


def _player(frames: list[bytes], labels: list[str], alt: str, kind: str) -> str:
    """Return frames under a slider and a button, which `player.js` brings to life; without it the last one is shown."""
    sources = [_source(frame) for frame in frames]
    film = json.dumps({"frames": sources, "labels": labels}).replace("<", "\\u003c")
    return (
        f'<div class="player"><img class="{kind}" alt="{html.escape(alt)}" src="{sources[-1]}">'
        '<div class="controls" hidden><button type="button">Play</button>'
        f'<input type="range" min="0" max="{len(frames) - 1}" value="{len(frames) - 1}" aria-label="moment">'
        f'<output>{html.escape(labels[-1])}</output></div><script type="application/json">{film}</script></div>'
    )


def _interpolation(report: Report, directory: pathlib.Path):
    if report.interpolation is None:
        return None
    walks = report.interpolation
    picture = _grid(
        directory, "interpolation.png", walks.reshape(-1, *walks.shape[2:]), walks.shape[1], "interpolation"
    )
    text = (
        "The outer columns are real held-out images, encoded by the probability-flow ODE and decoded again; "
        "between them the model decodes points on the great circle between their codes."
    )
    return "Latent interpolation", text, picture


def _inverse(report: Report, directory: pathlib.Path):
    if report.inverse is None:
        return None
    original, restored, figures = (report.inverse[name] for name in ("original", "restored", "summary"))
    # Deviations are shown so that the largest is white.
    std = report.inverse["std"] * (float(np.max(original)) / max(float(np.max(report.inverse["std"])), 1e-12))
    columns = [original, report.inverse["measured"], report.inverse["mean"], std.astype(original.dtype)]
    table = np.concatenate([np.stack(columns, 1), restored], 1)
    picture = _grid(directory, "inverse.png", table.reshape(-1, *table.shape[2:]), table.shape[1], "inverse problem")
    rows = [
        (title, f"{figures[f'{name}_psnr']:.2f} dB", f"{figures[f'{name}_ssim']:.3f}")
        for title, name in (("measurement by itself", "measured"), ("mean of the draws", "mean"), ("draw", "sample"))
    ]
    text = (
        f"{html.escape(figures['task'])} by {html.escape(figures['method'])}. From left to right: the real image, what "
        "the measurement says by itself, the mean of the model's draws, their deviation (the largest is white), the "
        "draws. The model was never trained for this: the measurement steers its sampling. "
        f"{figures['evaluations']} evaluations, {figures['seconds']:.0f} s."
    )
    heads = ("against the real image", "peak signal to noise", "structural similarity")
    return "Inverse problem", text, picture + _table(rows, heads)


def _quality(report: Report, directory: pathlib.Path):
    if report.quality is None:
        return None
    q = report.quality
    rows = [
        (
            "Fréchet distance",
            f"{q['frechet']:.2f}",
            f"to the training data, in the features of a small classifier ({q['samples']} samples)",
        ),
        (
            "Fréchet distance of real data",
            f"{q['frechet_floor']:.2f}",
            f"the floor: {q['heldout']} held-out images measured alike",
        ),
        (
            "ratio to the floor",
            f"{q['frechet'] / q['frechet_floor']:.1f}",
            "1 would be indistinguishable from real data",
        ),
        ("confident samples", f"{q['confident']:.1%}", "share that the classifier is more than 90 % sure of"),
        ("confident real images", f"{q['confident_floor']:.1%}", "the same for held-out images"),
        ("accuracy of the classifier", f"{q['accuracy']:.1%}", "on held-out images"),
        ("smallest class", f"{np.min(q['class_shares']):.1%}", "share of the samples in the rarest class"),
    ]
    if "class_accuracy" in q:
        rows.append(("class accuracy", f"{q['class_accuracy']:.1%}", "share classified as the class asked for"))
    chart = charts.class_shares(np.asarray(q["class_shares"], float), np.asarray(q["class_shares_real"], float))
    body = _table(rows, ("figure", "value", "meaning")) + _picture(
        directory, "classes.png", chart, "class shares", "chart"
    )
    return "Quality", "Measured by a classifier trained on the same training images.", body


def _guidance(report: Report, directory: pathlib.Path):
    if report.guidance is None or report.guided is None:
        return None
    rows = [
        (f"{row['scale']:g}", f"{row['frechet']:.2f}", f"{row['class_accuracy']:.1%} of the class asked for")
        for row in report.guidance
    ]
    table = _table(rows, ("scale", "Fréchet distance", "samples"))
    body = _compared(directory, "guidance", charts.guidance(report.guidance), table, report.guided)
    text = (
        "Stronger guidance makes samples more typical of their class and less diverse. One row of samples a scale, "
        f"from the weakest down. Fréchet distance of real held-out images: {report.guidance[0]['frechet_floor']:.2f}."
    )
    return "Guidance", text, body


def _compared(directory: pathlib.Path, name: str, chart: bytes, table: str, pictures: Array) -> str:
    """Return a chart, its table, and pictures [rows, n, h, w, c] of what is compared, a row each."""
    flat = pictures.reshape(-1, *pictures.shape[2:])
    grid = _grid(directory, f"{name}_samples.png", flat, pictures.shape[1], f"samples, a row each of {name}")
    return _picture(directory, f"{name}.png", chart, name, "chart") + table + grid


def _samplers(report: Report, directory: pathlib.Path):
    if report.samplers is None or report.compared is None:
        return None
    rows = [
        (
            row["sampler"].replace(",", ", "),
            f"{row['frechet']:.2f}",
            f"{row['evaluations'] or 'unknown'} evaluations, {row['seconds']:.1f} s with compilation",
        )
        for row in report.samplers
    ]
    table = _table(rows, ("sampler", "Fréchet distance", "cost of a sample"))
    body = _compared(directory, "samplers", charts.samplers(report.samplers), table, report.compared)
    text = (
        "The same model from the same noise, one row of samples a sampler, in the order of the table. Fréchet distance "
        f"of real held-out images: {report.samplers[0]['frechet_floor']:.2f}."
    )
    return "Samplers", text, body


def _selection(report: Report, directory: pathlib.Path):
    if report.selection is None:
        return None
    found, name = report.selection, report.selection["criterion"]
    rows = [(str(row["step"]), f"{row[name]:.4g}", "to choose by") for row in found["checkpoints"]]
    rows.append((str(found["best"]), f"{found['figures'][name]:.4g}", "to report"))
    body = _picture(directory, "selection.png", charts.selection(found), name, "chart")
    text = (
        "The least of several noisy figures is too good: the one to report, in the last row, comes from samples that "
        "had no say in the choice."
    )
    return "Checkpoints", text, body + _table(rows, ("step", name, "samples"))


def _likelihood(report: Report, directory: pathlib.Path):
    if report.likelihood is None:
        return None
    r = report.likelihood
    rows = [
        (
            "bits per dimension",
            f"{r['bits_per_dim']:.4f} ± {r['standard_error']:.4f}",
            "mean and its standard error; lower is better",
        ),
        (
            "log-likelihood",
            f"{r['nats_per_example']:.1f}",
            "nats per example, of the dequantised data in raw units",
        ),
        ("held-out examples", f"{r['examples']}", "uniformly dequantised if they are integers"),
        ("evaluations", f"{r['evaluations']:.0f}", "of the network, each with its divergence"),
    ]
    body = _table(rows, ("figure", "value", "meaning"))
    if r.get("per_example") is not None and len(r["per_example"]) > 4:
        chart = charts.histogram(np.asarray(r["per_example"], float), "bits per dimension")
        body += _picture(directory, "likelihood.png", chart, "bits per dimension", "chart")
    return "Likelihood", "Exact up to the solver and the divergence estimate, by the probability-flow ODE.", body


def _curves(report: Report, directory: pathlib.Path):
    if not report.curves:
        return None
    picture = _picture(directory, "curves.png", charts.curves(report.curves), "training curves", "chart")
    return (
        "Training",
        "The held-out loss is measured with the averaged parameters and the same noise each time.",
        picture,
    )


def _timings(report: Report, directory: pathlib.Path):
    if not report.timings:
        return None
    total = sum(report.timings.values())
    rows = [(name, f"{seconds:.1f}", f"{seconds / total:.0%}") for name, seconds in report.timings.items()]
    rows.append(("in all", f"{total:.1f}", ""))
    return "Time", "Compilation included; writing this page is not.", _table(rows, ("what", "seconds", "share"))


def _config(report: Report, directory: pathlib.Path):
    if report.config is None:
        return None
    text = html.escape(json.dumps(report.config, indent=2, default=str))
    return "Config", "Everything this run was made of.", f"<details><summary>show</summary><pre>{text}</pre></details>"


SECTIONS = (
    _samples,
    _animation,
    _denoising,
    _inverse,
    _interpolation,
    _quality,
    _guidance,
    _samplers,
    _selection,
    _likelihood,
    _curves,
    _timings,
    _config,
)
