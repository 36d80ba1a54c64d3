"""One self-contained HTML page of a run."""

import base64
import dataclasses
import html
import importlib.resources
import json
import pathlib
from typing import Any

import numpy as np
from jaxtyping import Shaped

from sgm_jax.report import charts, images

Array = Shaped[np.ndarray, "..."]
WIDTH = 900  # pixels a picture is enlarged to at most


@dataclasses.dataclass(frozen=True)
class Report:
    """What a page shows; a section appears only if there is something for it.

    Args:
        title: headline.
        samples: raw images [n, h, w, c] or points [n, 2].
        data: real examples to set beside them, alike.
        film: noisy states of some samples [k, frames, h, w, c].
        film_denoised: the denoised estimates at these states, alike.
        film_levels: noise level of each frame [frames], in data units.
        animation: states of many samples [frames, n, h, w, c], or of points [frames, n, 2].
        interpolation: decoded walks between latent codes [rows, columns, h, w, c].
        inpainting: `original` [k, ...], `masked` [k, ...] and `restored` [k, draws, ...].
        curves: rows of the metrics.
        likelihood: `bits_per_dim`, `standard_error`, `examples`, `nats_per_example`, `evaluations`, `per_example`.
        quality: what `sgm_jax.evaluation.quality` returns.
        config: the experiment's config.
        timings: seconds by what they were spent on.
        environment: what the run ran on.
    """

    title: str
    samples: Array | None = None
    data: Array | None = None
    film: Array | None = None
    film_denoised: Array | None = None
    film_levels: Array | None = None
    animation: Array | None = None
    interpolation: Array | None = None
    inpainting: dict[str, Array] | None = None
    curves: list[dict[str, Any]] | None = None
    likelihood: dict[str, Any] | None = None
    quality: dict[str, Any] | None = None
    config: dict[str, Any] | None = None
    timings: dict[str, float] | None = None
    environment: dict[str, str] | None = None


def write(directory: pathlib.Path, report: Report) -> pathlib.Path:
    """Write `index.html` and its pictures as files of their own; returns the page's path.

    Raises:
        ValueError: if images have the wrong shape or type.
    """
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    sections = [section(report, directory) for section in SECTIONS]
    sections = [(title, text, body) for title, text, body in filter(None, sections)]
    style = importlib.resources.files("sgm_jax.report").joinpath("style.css").read_text()
    links = "".join(f'<a href="#{_anchor(title)}">{html.escape(title)}</a>' for title, _, _ in sections)
    body = "".join(
        f'<section id="{_anchor(title)}"><h2>{html.escape(title)}</h2><p>{text}</p>{content}</section>'
        for title, text, content in sections
    )
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width, initial-scale=1"><title>{html.escape(report.title)}</title>'
        f"<style>{style}</style></head><body><main><h1>{html.escape(report.title)}</h1>"
        f"<p>{html.escape(_environment(report))}</p>{_tiles(report)}<nav>{links}</nav>{body}</main></body></html>\n"
    )
    path, temporary = directory / "index.html", directory / "index.html.tmp"
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(path)
    return path


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _environment(report: Report) -> str:
    return " · ".join(f"{name} {value}" for name, value in (report.environment or {}).items())


def _picture(directory: pathlib.Path, name: str, content: bytes, alt: str, kind: str) -> str:
    """Save a picture beside the page and return the tag that holds it."""
    (directory / name).write_bytes(content)
    form = "gif" if name.endswith(".gif") else "png"
    data = base64.b64encode(content).decode()
    return f'<img class="{kind}" alt="{html.escape(alt)}" src="data:image/{form};base64,{data}">'


def _grid(directory: pathlib.Path, name: str, pixels: Array, columns: int | None, alt: str, width: int = WIDTH) -> str:
    sheet = images.enlarge(images.grid(pixels, columns), width)
    return _picture(directory, name, images.png(sheet), alt, "pixels")


def _tiles(report: Report) -> str:
    tiles = []
    if report.quality:
        tiles.append(
            (f"{report.quality['frechet']:.1f}", f"Fréchet distance (real: {report.quality['frechet_floor']:.1f})")
        )
        tiles.append(
            (f"{report.quality['confident']:.0%}", f"confident (real: {report.quality['confident_floor']:.0%})")
        )
    if report.likelihood:
        error = report.likelihood["standard_error"]
        tiles.append((f"{report.likelihood['bits_per_dim']:.3f} ± {error:.3f}", "bits per dimension, held out"))
    if report.timings:
        seconds = round(sum(report.timings.values()))
        tiles.append((f"{seconds // 60}:{seconds % 60:02d}", "minutes in all"))
    cells = "".join(f'<div class="tile"><b>{html.escape(a)}</b><span>{html.escape(b)}</span></div>' for a, b in tiles)
    return f'<div class="tiles">{cells}</div>' if tiles else ""


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
    return "Samples", "Every image on the left was drawn by the model from nothing but noise.", body


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
        frames = charts.frames_of_points(report.animation)
    else:
        frames = [images.enlarge(images.grid(frame), 420) for frame in images.as_bytes(report.animation)]
    picture = _picture(directory, "animation.gif", images.animation(frames), "samples taking shape", "pixels")
    return "Animation", "Samples taking shape.", picture


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


def _inpainting(report: Report, directory: pathlib.Path):
    if report.inpainting is None:
        return None
    original, masked, restored = (report.inpainting[name] for name in ("original", "masked", "restored"))
    columns = [original[:, None], masked[:, None], restored]
    table = np.concatenate(columns, 1)
    picture = _grid(directory, "inpainting.png", table.reshape(-1, *table.shape[2:]), table.shape[1], "inpainting", 560)
    text = (
        "Left the real image, then what the model was shown, then its completions. It was "
        "never trained for this: the known pixels are imposed at every step of its sampling."
    )
    return "Inpainting", text, picture


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
            "nats per example, of the dequantised data in the model's range",
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
    _inpainting,
    _interpolation,
    _quality,
    _likelihood,
    _curves,
    _timings,
    _config,
)
