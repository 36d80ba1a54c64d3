"""One self-contained HTML page of a run."""

import html
import importlib.resources
import pathlib

from sgm_jax.report.contents import Report
from sgm_jax.report.sections import SECTIONS


def write(directory: pathlib.Path, report: Report) -> pathlib.Path:
    """Write `index.html` and its pictures as files of their own; returns the page's path.

    Raises:
        ValueError: if images have the wrong shape or type.
    """
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    sections = [section(report, directory) for section in SECTIONS]
    sections = [(title, text, body) for title, text, body in filter(None, sections)]
    style, player = (
        importlib.resources.files("sgm_jax.report").joinpath(name).read_text() for name in ("style.css", "player.js")
    )
    links = "".join(f'<a href="#{_anchor(title)}">{html.escape(title)}</a>' for title, _, _ in sections)
    body = "".join(
        f'<section id="{_anchor(title)}"><h2>{html.escape(title)}</h2><p>{text}</p>{content}</section>'
        for title, text, content in sections
    )
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width, initial-scale=1"><title>{html.escape(report.title)}</title>'
        f"<style>{style}</style></head><body><main><h1>{html.escape(report.title)}</h1>"
        f"<p>{html.escape(_environment(report))}</p>{_tiles(report)}<nav>{links}</nav>{body}</main>"
        f"<script>{player}</script></body></html>\n"
    )
    path, temporary = directory / "index.html", directory / "index.html.tmp"
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(path)
    return path


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _environment(report: Report) -> str:
    return " · ".join(f"{name} {value}" for name, value in (report.environment or {}).items())


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
