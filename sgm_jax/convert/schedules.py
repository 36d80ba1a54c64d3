"""diffusers' schedulers -> the SDE and what the network predicts in it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sgm_jax.convert.edm import iddpm_levels
from sgm_jax.labels import LogLevel, NearestStep, Sigma
from sgm_jax.naming import choose
from sgm_jax.score import (
    AbstractPrediction,
    ConsistencyPreconditioned,
    Denoised,
    Labelled,
    Noise,
    Score,
    Velocity,
)
from sgm_jax.sde import EDM, VE, VP, AbstractSDE, Cosine

PREDICTIONS = {"epsilon": Noise, "sample": Denoised, "v_prediction": Velocity}


def schedule(scheduler: Mapping[str, Any]) -> tuple[AbstractSDE, AbstractPrediction]:
    """Return the SDE a scheduler is of, and what its network predicts at which label.

    Discrete steps become the continuous SDE through their noise levels, from the first to the last, with the number
    of the nearest step as the label.

    Args:
        scheduler: what `scheduler_config.json` holds: `_class_name` and the flags of the noise levels, the
            reference's defaults where one is absent. Flags of the sampler are not looked at.

    Raises:
        ValueError: if the scheduler or its schedule is not supported.
    """
    return choose("_class_name of the scheduler", str(scheduler.get("_class_name")), SCHEDULERS)(scheduler)


def _discrete(scheduler):
    steps = scheduler.get("num_train_timesteps", 1000)
    prediction = choose("prediction_type", scheduler.get("prediction_type", "epsilon"), PREDICTIONS)()
    if scheduler.get("trained_betas") is not None or scheduler.get("rescale_betas_zero_snr"):
        raise ValueError("trained_betas and rescale_betas_zero_snr must not be set")
    kinds = {"linear": _linear, "squaredcos_cap_v2": _squared_cosine}
    sde, levels = choose("beta_schedule", scheduler.get("beta_schedule", "linear"), kinds)(scheduler, steps)
    return sde, Labelled(prediction, NearestStep(tuple(levels.tolist())))


def _linear(scheduler, steps):
    first, last = scheduler.get("beta_start", 0.0001), scheduler.get("beta_end", 0.02)
    # B at the levels' own times, which solve B = t (low + t (high - low) / 2).
    integral = -np.cumsum(np.log1p(-np.linspace(first, last, steps)))
    low, high = steps * first, steps * last
    t = 2 * integral / (low + np.sqrt(low**2 + 2 * (high - low) * integral))
    return VP(beta_min=low, beta_max=high, t_min=float(t[0]), t_max=float(t[-1])), np.sqrt(np.expm1(integral))


def _squared_cosine(scheduler, steps):
    return Cosine(t_min=1 / steps, t_max=1 - 1 / steps), iddpm_levels(steps)


def _exploding(scheduler):
    sde = VE(float(scheduler.get("sigma_min", 0.01)), float(scheduler.get("sigma_max", 1348.0)))
    return sde, Labelled(Score(), Sigma())


def _consistency(scheduler):
    low, high = float(scheduler.get("sigma_min", 0.002)), float(scheduler.get("sigma_max", 80.0))
    prediction = ConsistencyPreconditioned(float(scheduler.get("sigma_data", 0.5)), low)
    return EDM(low, high), Labelled(prediction, LogLevel(factor=250.0))


SCHEDULERS = {
    "DDPMScheduler": _discrete,
    "DDIMScheduler": _discrete,
    "PNDMScheduler": _discrete,
    "DEISMultistepScheduler": _discrete,
    "DPMSolverMultistepScheduler": _discrete,
    "DPMSolverSinglestepScheduler": _discrete,
    "UniPCMultistepScheduler": _discrete,
    "ScoreSdeVeScheduler": _exploding,
    "CMStochasticIterativeScheduler": _consistency,
}
