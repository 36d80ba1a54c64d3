"""Inverse problems."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sgm_jax import inverse, report
from sgm_jax.experiment import Experiment
from sgm_jax.modes.shared import INVERSE, Unsuitable, held_out_batch, is_image, stream
from sgm_jax.sampling import Langevin, PredictorCorrector
from sgm_jax.stored import trained


def inpaint(experiment: Experiment, params: Any) -> dict[str, np.ndarray]:
    """Complete held-out images, given their classes where there are any.

    Returns:
        Raw `original` [k, ...], `masked` [k, ...], `restored` [k, draws, ...].
    """
    section = experiment.config.inverse
    batch = held_out_batch(experiment, section.count)
    original, label = batch["x"], experiment.labels(batch)
    known = experiment.scaling.to_model(jnp.asarray(np.repeat(original, section.draws, axis=0)))
    mask_key, key = jax.random.split(stream(experiment, INVERSE))
    mask = inverse.MASKS[section.mask](mask_key, original.shape[1:])
    out = inverse.inpaint(
        key,
        experiment.sde,
        experiment.score_fn(params, None if label is None else jnp.repeat(label, section.draws)),
        known,
        mask,
        solver=PredictorCorrector(corrector=Langevin(section.snr, section.corrector_steps)),
        steps=section.steps,
    )
    restored = np.asarray(experiment.scaling.to_raw(out.x)).reshape(len(original), section.draws, *original.shape[1:])
    # Unknown pixels are shown in mid-grey.
    masked = np.where(np.asarray(mask) > 0, original, original.dtype.type(experiment.dataset.levels // 2))
    return {"original": original, "masked": masked, "restored": restored}


def invert(experiment: Experiment, workdir: pathlib.Path) -> int:
    """Inpaint held-out images into `inverse.npz` and `inpainting.png`; returns the exit code."""
    if not is_image(experiment):
        raise Unsuitable(f"mode 'inverse' needs images, got data of shape {experiment.dataset.shape}")
    save_inpainting(inpaint(*trained(experiment, workdir)), workdir)
    return 0


def save_inpainting(result: dict[str, np.ndarray], workdir: pathlib.Path) -> None:
    """Write inpaintings to the run's folder."""
    np.savez_compressed(workdir / "inverse.npz", **result)
    rows = [result["original"], result["masked"], *np.moveaxis(result["restored"], 1, 0)]
    report.save_png(workdir / "inpainting.png", report.grid(np.concatenate(rows), columns=len(rows[0])))
    print(f"{len(rows[0])} images inpainted in {workdir / 'inverse.npz'}")
