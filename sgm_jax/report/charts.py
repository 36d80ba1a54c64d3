"""Charts, drawn by matplotlib: SVG in the colours and letters of the page, and PNG for everywhere else."""

import dataclasses
import html
import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

# The light page's colours; in the page each gives way to the custom property of its name, so that charts follow dark
# mode.
INK, MUTED, LINE, ACCENT, SECOND = "#1d2129", "#667085", "#e4e2dc", "#3b5bdb", "#d9730d"
PROPERTIES = {INK: "ink", MUTED: "muted", LINE: "line", ACCENT: "accent", SECOND: "second"}
PIXELS_PER_INCH = 96

Draw = Callable[[Any], None]


@dataclasses.dataclass(frozen=True)
class Chart:
    """A chart before it has a size.

    Args:
        name: letters, digits, `-` and `_`: the name of its file and the root of its identifiers in the page.
        title: what it shows.
        draw: draws on matplotlib axes.
        height: in pixels.
    """

    name: str
    title: str
    draw: Draw
    height: int = 260


def svg(chart: Chart, width: int) -> str:
    """Render a chart as an SVG element that can stand in a page, `width` pixels wide at its natural size."""
    import matplotlib

    figure, (axes,) = _figure(width, chart.height, 1)
    _style(axes)
    chart.draw(axes)
    file = io.StringIO()
    # Text stays text, in the page's own letters, and identifiers are the same at every writing.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": chart.name}):
        figure.savefig(file, format="svg", transparent=True)
    return _embed(file.getvalue(), f"{chart.name}-{width}", chart.title, width)


def png(charts: Sequence[Chart]) -> bytes:
    """Render charts as one PNG, the first across the whole width and the others below it in rows of three."""
    below = -(-(len(charts) - 1) // 3)
    figure, axes = _figure(900, 340 + 220 * below, len(charts))
    for chart, panel in zip(charts, axes, strict=True):
        _style(panel)
        chart.draw(panel)
        panel.set_title(chart.title, loc="left", fontsize=10, color=INK, parse_math=False)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=2 * PIXELS_PER_INCH, facecolor="white")
    return file.getvalue()


def loss_curve(rows: Sequence[dict[str, Any]]) -> Draw:
    """Draw the training loss, raw and smoothed, and the held-out loss."""

    def draw(axes):
        steps, loss = series(rows, "loss")
        if len(loss) >= 20:
            axes.plot(steps, loss, color=ACCENT, linewidth=1, alpha=0.28)
            loss = ndimage.gaussian_filter1d(loss, len(loss) / 40, mode="nearest")
        axes.plot(steps, loss, color=ACCENT, linewidth=2, label="training")
        steps, held_out = series(rows, "eval_loss")
        if len(held_out):
            axes.plot(steps, held_out, color=SECOND, linewidth=1.6, marker="o", markersize=4, label="held out")
        _logarithmic_if_wide(axes, np.concatenate([loss, held_out]))
        axes.set_xlabel("step")
        axes.legend(frameon=False, fontsize=9, labelcolor=INK)

    return draw


def curve(rows: Sequence[dict[str, Any]], key: str) -> Draw:
    """Draw one number of the training log against the step."""

    def draw(axes):
        steps, values = series(rows, key)
        axes.plot(steps, values, color=ACCENT, linewidth=1.6, marker="o" if len(values) == 1 else "", markersize=4)
        if len(values) and values.min() >= 0 and values.max() > 0:
            axes.set_ylim(bottom=0)
        axes.set_xlabel("step")

    return draw


def histogram(values: np.ndarray, mean: float) -> Draw:
    """Draw how `values` are distributed, and their mean."""

    def draw(axes):
        finite = values[np.isfinite(values)]
        bins = int(np.clip(2 * len(finite) ** 0.5, 5, 40))
        axes.hist(finite, bins=bins, color=ACCENT, alpha=0.75, rwidth=0.92)
        axes.axvline(mean, color=SECOND, linewidth=2, label="mean")
        axes.set_xlabel("bits per dimension")
        axes.set_ylabel("examples")
        axes.legend(frameon=False, fontsize=9, labelcolor=INK)

    return draw


def class_shares(shares: np.ndarray, real: np.ndarray, counts: tuple[int, int] | None) -> Draw:
    """Draw the share of each class in percent, of samples and of real data, with standard errors if counted."""

    def draw(axes):
        classes = np.arange(len(shares))
        for offset, values, name, tint, count in (
            (-0.2, shares, "samples", ACCENT, counts and counts[0]),
            (0.2, real, "real data", MUTED, counts and counts[1]),
        ):
            error = 100 * np.sqrt(values * (1 - values) / count) if count else None
            axes.bar(classes + offset, 100 * values, width=0.36, color=tint, alpha=0.8, label=name)
            if error is not None:
                axes.errorbar(classes + offset, 100 * values, error, fmt="none", ecolor=INK, elinewidth=1, alpha=0.7)
        axes.set_xticks(classes[:: -(-len(classes) // 20)])
        axes.set_xlabel("class")
        axes.set_ylabel("share in percent")
        axes.margins(y=0.25)
        axes.legend(frameon=False, fontsize=9, labelcolor=INK, ncols=2, loc="upper right")

    return draw


def series(rows: Sequence[dict[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and values of those rows in which the number `key` is there and finite."""
    found = [(row["step"], row[key]) for row in rows if row.get(key) is not None and np.isfinite(row[key])]
    steps, values = np.array(found, np.float64).reshape(-1, 2).T
    return steps, values


def _figure(width: int, height: int, panels: int):
    from matplotlib.figure import Figure

    figure = Figure((width / PIXELS_PER_INCH, height / PIXELS_PER_INCH), PIXELS_PER_INCH, layout="constrained")
    below = -(-(panels - 1) // 3)
    layout = figure.add_gridspec(1 + below, 3, height_ratios=[340 if below else 1] + [220] * below)
    axes = [figure.add_subplot(layout[0, :])]
    axes += [figure.add_subplot(layout[1 + i // 3, i % 3]) for i in range(panels - 1)]
    return figure, axes


def _style(axes) -> None:
    axes.patch.set_visible(False)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", color=LINE, labelcolor=MUTED, labelsize=9, length=0, pad=5)
    axes.xaxis.label.set(color=MUTED, fontsize=9)
    axes.yaxis.label.set(color=MUTED, fontsize=9)
    axes.locator_params(axis="x", nbins=6)


def _logarithmic_if_wide(axes, values: np.ndarray) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    if len(values) and values.min() > 0 and values.max() / values.min() > 10:
        axes.set_yscale("log")
        subdivisions = (1.0, 2.0, 5.0) if values.max() / values.min() < 300 else (1.0,)
        axes.yaxis.set_major_locator(LogLocator(subs=subdivisions))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())


def _embed(document: str, prefix: str, title: str, width: int) -> str:
    """Fit matplotlib's SVG file into a page: no header, no fixed size, its own identifiers, the page's colours."""
    element = document[document.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.S)
    element = re.sub(r'\bid="([^"]*)"', rf'id="{prefix}-\1"', element)
    element = re.sub(r"url\(#", f"url(#{prefix}-", element)
    element = re.sub(r'xlink:href="#', f'href="#{prefix}-', element)
    element = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", element)
    for hexadecimal, name in PROPERTIES.items():
        element = element.replace(hexadecimal, f"var(--{name})")
    box = re.search(r'viewBox="[^"]*"', element)[0]
    label = html.escape(title, quote=True)
    head = f'<svg class="chart" {box} style="max-width: {width}px" role="img" aria-label="{label}">'
    return head + element[element.index(">") + 1 :].strip()
