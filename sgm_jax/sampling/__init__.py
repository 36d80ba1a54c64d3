"""Samplers: processes in canonical coordinates, integrated by diffrax solvers."""

from sgm_jax.sampling.abstract import AbstractFlowSolver, AbstractNoiseSolver
from sgm_jax.sampling.charts import AbstractChart, Angle, NoiseLevel, OwnTime
from sgm_jax.sampling.corrector import (
    Context,
    Langevin,
    PredictorCorrector,
    annealed_step,
    batch_mean_step,
    per_example_step,
)
from sgm_jax.sampling.multistep import DPMSolverPP
from sgm_jax.sampling.noise import Recorded, StepNoise, per_example_noise
from sgm_jax.sampling.processes import AbstractProcess, ProbabilityFlow, ReverseSDE
from sgm_jax.sampling.schedules import karras, level_range, uniform_log_snr, uniform_time
from sgm_jax.sampling.solve import Samples, Trajectory, sample

__all__ = [
    "AbstractChart",
    "AbstractFlowSolver",
    "AbstractNoiseSolver",
    "AbstractProcess",
    "Angle",
    "Context",
    "DPMSolverPP",
    "Langevin",
    "NoiseLevel",
    "OwnTime",
    "PredictorCorrector",
    "ProbabilityFlow",
    "Recorded",
    "ReverseSDE",
    "Samples",
    "StepNoise",
    "Trajectory",
    "annealed_step",
    "batch_mean_step",
    "karras",
    "level_range",
    "per_example_noise",
    "per_example_step",
    "sample",
    "uniform_log_snr",
    "uniform_time",
]
