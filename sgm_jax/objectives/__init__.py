"""Objectives: pure functions from a score function and data to one loss an example."""

from sgm_jax.objectives.consistency import DISTANCES as DISTANCES
from sgm_jax.objectives.consistency import PAIR_WEIGHTINGS as PAIR_WEIGHTINGS
from sgm_jax.objectives.consistency import TEACHER_STEPS as TEACHER_STEPS
from sgm_jax.objectives.consistency import PseudoHuber as PseudoHuber
from sgm_jax.objectives.consistency import consistency_distillation as consistency_distillation
from sgm_jax.objectives.consistency import consistency_training as consistency_training
from sgm_jax.objectives.consistency_schedules import LEVELS as LEVELS
from sgm_jax.objectives.consistency_schedules import DoublingLevels as DoublingLevels
from sgm_jax.objectives.consistency_schedules import FixedLevels as FixedLevels
from sgm_jax.objectives.consistency_schedules import FixedRate as FixedRate
from sgm_jax.objectives.consistency_schedules import ProgressiveLevels as ProgressiveLevels
from sgm_jax.objectives.consistency_schedules import ProgressiveRate as ProgressiveRate
from sgm_jax.objectives.continuous_consistency import (
    continuous_consistency_distillation as continuous_consistency_distillation,
)
from sgm_jax.objectives.continuous_consistency import continuous_consistency_training as continuous_consistency_training
from sgm_jax.objectives.denoising import denoising_score_matching as denoising_score_matching
from sgm_jax.objectives.matching import MATCHINGS as MATCHINGS
from sgm_jax.objectives.matching import Matching as Matching
from sgm_jax.objectives.matching import denoising_at_level as denoising_at_level
from sgm_jax.objectives.matching import explicit_score_matching as explicit_score_matching
from sgm_jax.objectives.matching import finite_difference_score_matching as finite_difference_score_matching
from sgm_jax.objectives.matching import implicit_score_matching as implicit_score_matching
from sgm_jax.objectives.matching import over_noise_levels as over_noise_levels
from sgm_jax.objectives.matching import sliced_score_matching as sliced_score_matching
from sgm_jax.objectives.matching import sliced_score_matching_vr as sliced_score_matching_vr
from sgm_jax.objectives.maximum_likelihood import maximum_likelihood as maximum_likelihood
from sgm_jax.objectives.progressive import progressive_distillation as progressive_distillation
from sgm_jax.objectives.progressive import two_steps_in_one as two_steps_in_one
from sgm_jax.objectives.reflow import reflow as reflow
from sgm_jax.objectives.reflow import reflow_pairs as reflow_pairs
from sgm_jax.objectives.times import KarrasTimes as KarrasTimes
from sgm_jax.objectives.times import LevelTimes as LevelTimes
from sgm_jax.objectives.times import LogNormalTimes as LogNormalTimes
from sgm_jax.objectives.times import LogUniformTimes as LogUniformTimes
from sgm_jax.objectives.times import Times as Times
from sgm_jax.objectives.times import TruncatedLogNormalTimes as TruncatedLogNormalTimes
from sgm_jax.objectives.times import UniformTimes as UniformTimes
from sgm_jax.objectives.times import independent_quantiles as independent_quantiles
from sgm_jax.objectives.times import stratified_quantiles as stratified_quantiles
from sgm_jax.objectives.trajectories import flow_trajectories as flow_trajectories
from sgm_jax.objectives.trajectories import trajectory_regression as trajectory_regression
from sgm_jax.objectives.variational import discrete_variational_diffusion as discrete_variational_diffusion
from sgm_jax.objectives.variational import variational_diffusion as variational_diffusion
from sgm_jax.objectives.weightings import WEIGHTINGS as WEIGHTINGS
from sgm_jax.objectives.weightings import EDMWeighting as EDMWeighting
from sgm_jax.objectives.weightings import LogSNRWeighting as LogSNRWeighting
from sgm_jax.objectives.weightings import MinSNRWeighting as MinSNRWeighting
from sgm_jax.objectives.weightings import Weighting as Weighting
from sgm_jax.objectives.weightings import as_weighting as as_weighting
from sgm_jax.objectives.weightings import flow_weighting as flow_weighting
from sgm_jax.objectives.weightings import likelihood_weighting as likelihood_weighting
from sgm_jax.objectives.weightings import noise_weighting as noise_weighting
from sgm_jax.objectives.weightings import snr_plus_one_weighting as snr_plus_one_weighting
from sgm_jax.objectives.weightings import truncated_snr_weighting as truncated_snr_weighting
