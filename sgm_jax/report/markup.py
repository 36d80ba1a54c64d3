"""Pieces of HTML: whatever is given as text is escaped, whatever is returned is HTML."""

import base64
import dataclasses
import html
from collections.abc import Iterable, Sequence
from typing import Any

from sgm_jax.report.charts import Chart, svg

COLUMN = 1080  # widest a figure gets, in CSS pixels; style.css knows it too


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page.

    Args:
        anchor: its identifier in the page.
        title: its heading.
        body: its content, HTML.
        files: pictures to write beside the page, name to content.
    """

    anchor: str
    title: str
    body: str
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)


def text(value: Any) -> str:
    """Escape anything for use as text or within a quoted attribute."""
    return html.escape(str(value), quote=True)


def paragraph(value: str, kind: str = "lead") -> str:
    """Return a paragraph of text."""
    return f'<p class="{kind}">{text(value)}</p>'


def subheading(value: str) -> str:
    """Return the heading of a part of a section."""
    return f"<h3>{text(value)}</h3>"


def data_uri(content: bytes) -> str:
    """Return a PNG or GIF file as a URI that holds all of it."""
    kind = "gif" if content.startswith(b"GIF") else "png"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def picture(
    content: bytes,
    alt: str,
    size: tuple[int, int],
    *,
    space: int = COLUMN,
    cell: int = 0,
    still: bytes | None = None,
    below: str = "",
) -> str:
    """Return an image that is as large as there is room; one of small cells grows by whole factors, pixels sharp.

    Args:
        content: PNG or GIF file.
        alt: what it shows.
        size: width and height in pixels.
        space: widest it may get, in CSS pixels.
        cell: width of one image in it; above 64 it is not enlarged.
        still: shown instead of an animation to readers who asked for less motion.
        below: HTML to stand below it, as wide as the image.
    """
    width, height = size
    kind = "pixels" if 0 < cell <= 64 and width <= space else "photo"
    img = f'<img src="{data_uri(content)}" alt="{text(alt)}" width="{width}" height="{height}">'
    if still is not None:
        source = f'<source media="(prefers-reduced-motion: reduce)" srcset="{data_uri(still)}">'
        img = f"<picture>{source}{img}</picture>"
    factor = max(1, space // width)
    variables = f"--step: {width}px; --space: {space}px; --factor: {factor}"
    return f'<div class="room"><div class="{kind}" style="{variables}">{img}{below}</div></div>'


def ticks(labels: Sequence[str]) -> str:
    """Return labels for the columns of the image above, at equal distances."""
    spans = "".join(f"<span>{text(label)}</span>" for label in labels)
    return f'<div class="ticks" style="--columns: {len(labels)}">{spans}</div>'


def figure(content: str, caption: str, kind: str = "") -> str:
    """Return content (HTML) with a caption (text)."""
    return f'<figure class="{kind}">{content}<figcaption>{text(caption)}</figcaption></figure>'


def columns(parts: Iterable[str]) -> str:
    """Return parts (HTML) side by side where there is room."""
    return f'<div class="columns">{"".join(parts)}</div>'


def chart(drawn: Chart, widths: Sequence[int]) -> str:
    """Return a chart; drawn at more than one width, the page shows the one that fits."""
    if len(widths) == 1:
        return svg(drawn, widths[0])
    wide, narrow = sorted(widths, reverse=True)
    return f'<div class="wide">{svg(drawn, wide)}</div><div class="narrow">{svg(drawn, narrow)}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], kind: str = "") -> str:
    """Return a table of text; the first column names the rows."""
    columns = "".join(f'<th scope="col">{text(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{text(row[0])}</th>' + "".join(f"<td>{text(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in rows
    )
    above = f"<thead><tr>{columns}</tr></thead>" if head else ""
    return f'<div class="scroll"><table class="{kind}">{above}<tbody>{body}</tbody></table></div>'


def tile(name: str, value: str, note: str) -> str:
    """Return a figure to be seen at first glance."""
    return f"<div class='tile'><dt>{text(name)}</dt><dd><strong>{text(value)}</strong><span>{text(note)}</span></dd></div>"


def folded(summary: str, content: str) -> str:
    """Return content (HTML) that opens at a click."""
    return f"<details><summary>{text(summary)}</summary>{content}</details>"
