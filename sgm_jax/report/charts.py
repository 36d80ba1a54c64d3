"""Charts as PNG bytes, drawn by matplotlib, which is imported only here and only when needed."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from jaxtyping import Float, Shaped, UInt8

Array = Shaped[np.ndarray, "..."]
FIRST, SECOND = "#3b5bdb", "#d9730d"


def _axes(width: float = 6.4, height: float = 3.2):
    from matplotlib.figure import Figure

    axes = Figure((width, height), 110, layout="constrained").add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _png(axes) -> bytes:
    buffer = io.BytesIO()
    axes.figure.savefig(buffer, format="png")
    return buffer.getvalue()


def curves(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw the training loss, and the held-out loss where it was measured, against the step."""
    axes = _axes()
    for name, label, style in (
        ("loss", "training", {"color": FIRST, "linewidth": 1}),
        ("eval_loss", "held out", {"color": SECOND, "marker": "o", "markersize": 3}),
    ):
        found = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
        if found:
            axes.plot(*np.array(found, float).T, label=label, **style)
    if min((row["loss"] for row in rows if row.get("loss") is not None), default=0) > 0:
        axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel("loss per dimension")
    axes.legend(frameon=False)
    return _png(axes)


def histogram(values: Float[np.ndarray, " n"], label: str) -> bytes:
    """Draw how `values` are distributed, and their mean."""
    axes = _axes(height=2.6)
    axes.hist(values, bins=min(40, max(5, len(values) // 4)), color=FIRST)
    axes.axvline(values.mean(), color=SECOND, label="mean")
    axes.set_xlabel(label)
    axes.set_ylabel("examples")
    axes.legend(frameon=False)
    return _png(axes)


def guidance(rows: Sequence[Mapping[str, float]]) -> bytes:
    """Draw the Fréchet distance against the share of samples of the class asked for, a point a scale of guidance."""
    axes = _axes()
    points = np.array([(100 * row["class_accuracy"], row["frechet"]) for row in rows])
    axes.plot(*points.T, color=FIRST, marker="o")
    for row, point in zip(rows, points, strict=True):
        axes.annotate(f"{row['scale']:g}", point, xytext=(5, 5), textcoords="offset points")
    axes.axhline(rows[0]["frechet_floor"], color=SECOND, label="real held-out images")
    axes.set_xlabel("samples of the class asked for (%)")
    axes.set_ylabel("Fréchet distance")
    axes.set_yscale("log")
    axes.legend(frameon=False)
    return _png(axes)


def samplers(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw the Fréchet distance against the evaluations a sample, a point a sampler whose evaluations are known."""
    axes = _axes()
    for row in rows:
        if row["evaluations"]:
            point = (row["evaluations"], row["frechet"])
            axes.plot(*point, color=FIRST, marker="o")
            axes.annotate(row["sampler"], point, xytext=(5, 5), textcoords="offset points", fontsize=7)
    axes.axhline(rows[0]["frechet_floor"], color=SECOND, label="real held-out images")
    axes.margins(x=0.2)
    axes.set_xlabel("evaluations")
    axes.set_ylabel("Fréchet distance")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.legend(frameon=False)
    return _png(axes)


def selection(found: Mapping[str, Any]) -> bytes:
    """Draw the figure that checkpoints were chosen by, and that of the best on other samples, against the step."""
    axes, name = _axes(), found["criterion"]
    points = [(row["step"] or 0, row[name]) for row in found["checkpoints"]]
    axes.plot(*np.array(points, float).T, color=FIRST, marker="o", label="chosen by")
    axes.plot(found["best"] or 0, found["figures"][name], color=SECOND, marker="D", label="best, other samples")
    axes.set_xlabel("step")
    axes.set_ylabel(name)
    axes.legend(frameon=False)
    return _png(axes)


def class_shares(shares: Float[np.ndarray, " k"], real: Float[np.ndarray, " k"]) -> bytes:
    """Draw the share of each class among samples and among real examples."""
    axes = _axes(height=2.6)
    classes = np.arange(len(shares))
    axes.bar(classes - 0.2, 100 * shares, 0.4, color=FIRST, label="samples")
    axes.bar(classes + 0.2, 100 * real, 0.4, color=SECOND, label="real")
    if len(classes) <= 20:
        axes.set_xticks(classes)
    axes.set_xlabel("class")
    axes.set_ylabel("share (%)")
    axes.legend(frameon=False, ncols=2, loc="lower right")
    return _png(axes)


def _square(extent: float):
    axes = _axes(4.2, 4.2)
    axes.set(xlim=(-extent, extent), ylim=(-extent, extent), aspect="equal")
    return axes


def extent(points: Float[np.ndarray, "n 2"]) -> float:
    """Return half the side of the square, centred at the origin, that holds nearly all points."""
    return float(1.1 * np.quantile(np.abs(points), 0.999))


def scatter(clouds: Mapping[str, Float[np.ndarray, "n 2"]]) -> bytes:
    """Draw clouds of points over each other, in one square."""
    axes = _square(max(extent(points) for points in clouds.values()))
    for (label, points), colour in zip(clouds.items(), (FIRST, SECOND), strict=False):
        axes.scatter(*points.T, s=2, alpha=0.5, color=colour, label=label, linewidths=0)
    axes.legend(frameon=False, markerscale=4, loc="upper right")
    return _png(axes)


def frames_of_points(path: Float[np.ndarray, "frames n 2"]) -> list[UInt8[np.ndarray, "H W 3"]]:
    """Draw each state of a moving cloud of points, in the square that fits the last."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    frames, side = [], extent(path[-1])
    for points in path:
        axes = _square(side)
        axes.scatter(*points.T, s=2, alpha=0.5, color=FIRST, linewidths=0)
        canvas = FigureCanvasAgg(cast(Figure, axes.figure))
        canvas.draw()
        frames.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    return frames
