"""What a report can hold."""

import dataclasses
import math
from typing import Any

import numpy as np

from sgm_jax.report.images import check_images

QUALITY = ("frechet", "frechet_floor", "confident", "confident_floor", "class_shares", "class_shares_real")
LIKELIHOOD = ("bits_per_dim", "standard_error", "examples", "nats_per_example", "evaluations")


@dataclasses.dataclass(frozen=True)
class Report:
    """The arrays and numbers of a run; a section appears for what is there.

    Images are uint8 [..., h, w, c] with 1, 3 or 4 channels. Points are floats [..., d] with d at least 2; the first
    two coordinates are drawn.

    Args:
        title: heading of the page.
        samples: what the model drew, images [n, h, w, c] or points [n, d].
        data: real examples of the same kind, shown beside the samples.
        film: states of the sampler on the way from noise to data, images [k, frames, h, w, c].
        film_denoised: the network's estimate of the data at the same states.
        film_levels: canonical noise level s of each frame, [frames].
        animation: frames of many samples at once, images [frames, n, h, w, c] or points [frames, n, d].
        interpolation: images [rows, columns, h, w, c]: in each row a path between the codes of two real images,
            whose reconstructions stand in the outer columns.
        inpainting: dict of images `original` [k, h, w, c], `masked` [k, h, w, c], `restored` [k, draws, h, w, c].
        curves: rows of the training log, each a dict with `step` and numbers such as `loss`, `eval_loss`,
            `learning_rate`, `gradient_norm`, `steps_per_second`; a row may lack any but `step`.
        likelihood: dict of `bits_per_dim` (mean) and its `standard_error`, `examples`, `nats_per_example` (mean log
            density), `evaluations` of the network per example; if wished `per_example`, bits per dimension [n], and
            `ordered`, images [n, h, w, c] from the likeliest to the least likely.
        quality: dict of `frechet`, `frechet_floor`, `confident`, `confident_floor`, `class_shares` [classes],
            `class_shares_real` [classes]; if wished `samples`, `heldout` (their numbers) and `accuracy`.
        config: nested dict of settings.
        timings: seconds that each part of the run took.
        environment: names and versions of what the run ran on.
        levels: number of integer values of the images; fewer than 256 are stretched to the range of a screen.

    Raises:
        ValueError: naming the field, if its type, shape or keys are not these.
    """

    title: str
    samples: np.ndarray | None = None
    data: np.ndarray | None = None
    film: np.ndarray | None = None
    film_denoised: np.ndarray | None = None
    film_levels: np.ndarray | None = None
    animation: np.ndarray | None = None
    interpolation: np.ndarray | None = None
    inpainting: dict[str, np.ndarray] | None = None
    curves: list[dict[str, Any]] | None = None
    likelihood: dict[str, Any] | None = None
    quality: dict[str, Any] | None = None
    config: dict[str, Any] | None = None
    timings: dict[str, Any] | None = None
    environment: dict[str, Any] | None = None
    levels: int = 256

    def __post_init__(self):
        if not 2 <= self.levels <= 256:
            raise ValueError(f"levels must be from 2 to 256, got {self.levels}")
        for name, leading in (("samples", ("n",)), ("data", ("n",)), ("animation", ("frames", "n"))):
            _check_images_or_points(name, getattr(self, name), leading)
        if self.samples is not None and self.data is not None and self.samples.shape[1:] != self.data.shape[1:]:
            raise ValueError(
                f"data must have examples of the shape of samples {self.samples.shape[1:]}, got {self.data.shape[1:]}"
            )
        for name, leading in (
            ("film", ("k", "frames")),
            ("film_denoised", ("k", "frames")),
            ("interpolation", ("rows", "columns")),
        ):
            if getattr(self, name) is not None:
                check_images(name, np.asarray(getattr(self, name)), leading)
        self._check_film()
        if self.inpainting is not None:
            self._check_inpainting(self.inpainting)
        for row in self.curves or ():
            if "step" not in row:
                raise ValueError(f"curves must be rows with 'step', got a row with {', '.join(row) or 'nothing'}")
        _check_keys("likelihood", self.likelihood, LIKELIHOOD)
        if self.likelihood and self.likelihood.get("ordered") is not None:
            check_images("likelihood['ordered']", np.asarray(self.likelihood["ordered"]), ("n",))
        _check_keys("quality", self.quality, QUALITY)
        if self.quality and np.shape(self.quality["class_shares"]) != np.shape(self.quality["class_shares_real"]):
            raise ValueError(
                "quality['class_shares'] must have the shape of quality['class_shares_real'] "
                f"{np.shape(self.quality['class_shares_real'])}, got {np.shape(self.quality['class_shares'])}"
            )
        for name, seconds in (self.timings or {}).items():
            if not (math.isfinite(seconds) and seconds >= 0):
                raise ValueError(f"timings[{name!r}] must be finite seconds, at least 0, got {seconds}")

    def _check_film(self):
        films = {name: getattr(self, name) for name in ("film", "film_denoised")}
        frames = {name: film.shape[1] for name, film in films.items() if film is not None}
        if len(set(frames.values())) > 1:
            raise ValueError(f"film_denoised must have as many frames as film ({frames['film']}), got {frames}")
        if self.film_levels is not None and np.shape(self.film_levels) != tuple(frames.values())[:1]:
            raise ValueError(
                f"film_levels must hold one noise level a frame of film, shape {tuple(frames.values())[:1]}, "
                f"got shape {np.shape(self.film_levels)}"
            )

    @staticmethod
    def _check_inpainting(inpainting: dict[str, np.ndarray]):
        _check_keys("inpainting", inpainting, ("original", "masked", "restored"))
        original, masked, restored = (np.asarray(inpainting[name]) for name in ("original", "masked", "restored"))
        check_images("inpainting['original']", original, ("k",))
        check_images("inpainting['masked']", masked, ("k",))
        check_images("inpainting['restored']", restored, ("k", "draws"))
        if not original.shape == masked.shape == (restored.shape[0], *restored.shape[2:]):
            raise ValueError(
                "inpainting must hold original [k, h, w, c], masked [k, h, w, c] and restored [k, draws, h, w, c], got "
                f"shapes {original.shape}, {masked.shape} and {restored.shape}"
            )


def _check_images_or_points(name: str, value: np.ndarray | None, leading: tuple[str, ...]) -> None:
    if value is None:
        return
    value = np.asarray(value)
    if not np.issubdtype(value.dtype, np.floating):
        check_images(name, value, leading)
    elif value.ndim != len(leading) + 1 or not value.size or value.shape[-1] < 2:
        axes = ", ".join(leading)
        raise ValueError(
            f"{name} must be images, uint8 [{axes}, h, w, c], or points, floats [{axes}, d] with d at least 2, "
            f"got {value.dtype} of shape {value.shape}"
        )


def _check_keys(name: str, value: dict[str, Any] | None, needed: tuple[str, ...]) -> None:
    missing = [key for key in needed if value is not None and key not in value]
    if missing:
        raise ValueError(f"{name} must have the keys {', '.join(needed)}, got none of {', '.join(missing)}")
