"""Score-based generative modelling as pure JAX functions.

The core is imported here; `convert`, `networks`, `inverse`, `training`, `data`, `evaluation` and `report` load on first
use.
"""

import importlib

from sgm_jax import (
    bounds,
    dequantisation,
    divergence,
    energy,
    likelihood,
    objectives,
    representation,
    sampling,
    score,
    sde,
)
from sgm_jax.divergence import Exact, Hutchinson, HutchPlusPlus
from sgm_jax.learned_schedule import LearnedVP, learned_vp
from sgm_jax.likelihood import importance_weighted, log_likelihood
from sgm_jax.objectives import (
    EDMWeighting,
    LogNormalTimes,
    LogSNRWeighting,
    MinSNRWeighting,
    UniformTimes,
    denoising_score_matching,
    discrete_variational_diffusion,
    maximum_likelihood,
    variational_diffusion,
)
from sgm_jax.representation import attribute_direction, decode, encode, interpolate
from sgm_jax.sampling import (
    Angle,
    DPMSolverPP,
    Langevin,
    NoiseLevel,
    OwnTime,
    PredictorCorrector,
    ProbabilityFlow,
    ReverseSDE,
    karras,
    sample,
    uniform_log_snr,
    uniform_time,
)
from sgm_jax.score import EDMPreconditioned, as_denoiser, as_noise, as_score
from sgm_jax.sde import EDM, VE, VP, Cosine, LinearSDE, RectifiedFlow, SubVP
from sgm_jax.version import __version__

_ROOMS = (
    "convert",
    "data",
    "evaluation",
    "experiment",
    "guidance",
    "inverse",
    "modes",
    "networks",
    "report",
    "serving",
    "training",
)


def __getattr__(name: str):
    if name == "pretrained":
        return importlib.import_module("sgm_jax.convert.shipped").pretrained
    if name == "Sampler":
        return importlib.import_module("sgm_jax.serving").Sampler
    if name in _ROOMS:
        return importlib.import_module(f"sgm_jax.{name}")
    raise AttributeError(f"module 'sgm_jax' has no attribute {name!r}")


def __dir__():
    return [*globals(), *_ROOMS, "Sampler", "pretrained"]
