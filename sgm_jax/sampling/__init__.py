"""Samplers: processes in canonical coordinates, integrated by diffrax solvers."""

from sgm_jax.sampling.abstract import AbstractFlowSolver, AbstractNoiseSolver
from sgm_jax.sampling.ancestral import Ancestral
from sgm_jax.sampling.charts import AbstractChart, Angle, Hyperbolic, NoiseLevel, OwnTime
from sgm_jax.sampling.churn import Churn
from sgm_jax.sampling.consistency import Consistency
from sgm_jax.sampling.corrector import (
    Context,
    Langevin,
    PredictorCorrector,
    annealed_step,
    batch_mean_step,
    per_example_step,
)
from sgm_jax.sampling.fitting import FittedSampler, fit_schedule, schedule_from_solution
from sgm_jax.sampling.gotta_go_fast import GottaGoFast, PublishedControl, path_increment, redrawn_increment
from sgm_jax.sampling.integrands import AbstractForm, DenoisedForm, NoiseForm, SoftLog, VelocityForm, bh1, bh2
from sgm_jax.sampling.langevin import (
    MALA,
    Hold,
    annealed_langevin,
    langevin_levels,
    mala,
    overdamped_langevin,
    underdamped_langevin,
)
from sgm_jax.sampling.multistep import DPMSolverPP, ExponentialAdams, UniPC
from sgm_jax.sampling.noise import Recorded, StepNoise, per_example_noise
from sgm_jax.sampling.parallel import ParallelSamples, sample_parallel
from sgm_jax.sampling.processes import AbstractProcess, ProbabilityFlow, ReverseSDE
from sgm_jax.sampling.regression import fit_coefficients
from sgm_jax.sampling.restart import Restart, RestartInterval
from sgm_jax.sampling.sa import SASolver, full_strength, within
from sgm_jax.sampling.schedules import (
    discrete_ve,
    discrete_vp,
    karras,
    leading,
    level_range,
    linspace,
    quadratic_time,
    resolve_levels,
    then_zero,
    trailing,
    uniform_angle,
    uniform_log_snr,
    uniform_time,
)
from sgm_jax.sampling.score_sde import (
    ScoreSDEAncestral,
    ScoreSDEEulerMaruyama,
    ScoreSDEReverseDiffusion,
    ScoreSDEStep,
    score_sde_schedule,
)
from sgm_jax.sampling.sde_dpm import SDEDPMSolverPP
from sgm_jax.sampling.singlestep import DPMSolver2, DPMSolver3
from sgm_jax.sampling.solve import Samples, Trajectory, sample
from sgm_jax.sampling.solvers import evaluations, fit_solver
from sgm_jax.sampling.tabulated import TabulatedMultistep, adams_bashforth
from sgm_jax.sampling.thresholding import DynamicThreshold, StaticThreshold, ThresholdedScore, threshold

__all__ = [
    "AbstractChart",
    "AbstractFlowSolver",
    "AbstractForm",
    "AbstractNoiseSolver",
    "AbstractProcess",
    "Ancestral",
    "Angle",
    "Churn",
    "Consistency",
    "Context",
    "DPMSolver2",
    "DPMSolver3",
    "DPMSolverPP",
    "DenoisedForm",
    "DynamicThreshold",
    "ExponentialAdams",
    "FittedSampler",
    "GottaGoFast",
    "Hold",
    "Hyperbolic",
    "Langevin",
    "MALA",
    "NoiseForm",
    "NoiseLevel",
    "OwnTime",
    "ParallelSamples",
    "PredictorCorrector",
    "ProbabilityFlow",
    "PublishedControl",
    "Recorded",
    "Restart",
    "RestartInterval",
    "ReverseSDE",
    "SASolver",
    "SDEDPMSolverPP",
    "Samples",
    "ScoreSDEAncestral",
    "ScoreSDEEulerMaruyama",
    "ScoreSDEReverseDiffusion",
    "ScoreSDEStep",
    "SoftLog",
    "StaticThreshold",
    "StepNoise",
    "TabulatedMultistep",
    "ThresholdedScore",
    "Trajectory",
    "UniPC",
    "VelocityForm",
    "adams_bashforth",
    "annealed_langevin",
    "annealed_step",
    "batch_mean_step",
    "bh1",
    "bh2",
    "discrete_ve",
    "discrete_vp",
    "evaluations",
    "fit_coefficients",
    "fit_schedule",
    "fit_solver",
    "full_strength",
    "karras",
    "langevin_levels",
    "leading",
    "level_range",
    "linspace",
    "mala",
    "overdamped_langevin",
    "path_increment",
    "per_example_noise",
    "per_example_step",
    "quadratic_time",
    "redrawn_increment",
    "resolve_levels",
    "sample",
    "sample_parallel",
    "schedule_from_solution",
    "score_sde_schedule",
    "then_zero",
    "threshold",
    "trailing",
    "underdamped_langevin",
    "uniform_angle",
    "uniform_log_snr",
    "uniform_time",
    "within",
]
