"""Inverse problems: measurements of unknown data, solved with a score model that never saw them."""

from sgm_jax.inverse.annealed import AnnealedLangevin
from sgm_jax.inverse.blur import Blur, CircularBlur, gaussian_kernel, motion_kernel, uniform_kernel
from sgm_jax.inverse.checks import check_adjoint, check_measurement
from sgm_jax.inverse.composed import Composition, Linear, NonLinear
from sgm_jax.inverse.compressed_sensing import Dense, Hadamard, gaussian_sensing
from sgm_jax.inverse.consistency import ConsistencyEditing
from sgm_jax.inverse.ddnm import DDNM, DDNMPlus
from sgm_jax.inverse.ddrm import DDRM
from sgm_jax.inverse.decomposed import Decomposed, decompose
from sgm_jax.inverse.diffpir import DiffPIR, Renoise
from sgm_jax.inverse.dps import DPS
from sgm_jax.inverse.gaussian import GaussianPosterior
from sgm_jax.inverse.magnetic_resonance import (
    FREQUENCY_MASKS,
    FourierMask,
    MultiCoil,
    RealFourierMask,
    coil_sensitivities,
)
from sgm_jax.inverse.masks import MASKS
from sgm_jax.inverse.mcg import MCG
from sgm_jax.inverse.measurement import Measurement, Stacked, stack
from sgm_jax.inverse.method import AbstractGuided, AbstractMethod, AbstractRefined, AbstractTransition
from sgm_jax.inverse.moment_matching import MomentMatching
from sgm_jax.inverse.noise_level import estimate_noise_std
from sgm_jax.inverse.nonlinear import JPEG, HighDynamicRange, PhaseRetrieval
from sgm_jax.inverse.operator import AbstractLinear, AbstractOperator, AbstractSpectral
from sgm_jax.inverse.pigdm import PiGDM
from sgm_jax.inverse.pixel import LUMA, Grey, Mask, Separable, average, bicubic
from sgm_jax.inverse.projection import Projection
from sgm_jax.inverse.repaint import RePaint
from sgm_jax.inverse.replacement import inpaint, replacement
from sgm_jax.inverse.solve import Solutions, solve
from sgm_jax.inverse.tomography import WINDOWS, Radon, filtered_back_projection
from sgm_jax.inverse.total_variation import operator_norm, total_variation
from sgm_jax.inverse.twisted import TwistedDiffusion

__all__ = [
    "AbstractGuided",
    "AbstractLinear",
    "AbstractMethod",
    "AbstractOperator",
    "AbstractRefined",
    "AbstractSpectral",
    "AbstractTransition",
    "AnnealedLangevin",
    "Blur",
    "CircularBlur",
    "Composition",
    "ConsistencyEditing",
    "DDNM",
    "DDNMPlus",
    "DDRM",
    "DPS",
    "Decomposed",
    "Dense",
    "DiffPIR",
    "FREQUENCY_MASKS",
    "FourierMask",
    "GaussianPosterior",
    "Grey",
    "Hadamard",
    "HighDynamicRange",
    "JPEG",
    "LUMA",
    "Linear",
    "MASKS",
    "MCG",
    "Mask",
    "Measurement",
    "MomentMatching",
    "MultiCoil",
    "NonLinear",
    "PhaseRetrieval",
    "PiGDM",
    "Projection",
    "Radon",
    "RePaint",
    "RealFourierMask",
    "Renoise",
    "Separable",
    "Solutions",
    "Stacked",
    "TwistedDiffusion",
    "WINDOWS",
    "average",
    "bicubic",
    "check_adjoint",
    "check_measurement",
    "coil_sensitivities",
    "decompose",
    "estimate_noise_std",
    "filtered_back_projection",
    "gaussian_kernel",
    "gaussian_sensing",
    "inpaint",
    "motion_kernel",
    "operator_norm",
    "replacement",
    "solve",
    "stack",
    "total_variation",
    "uniform_kernel",
]
