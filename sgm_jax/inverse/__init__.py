"""Inverse problems: measurements of unknown data, solved with a score model that never saw them."""

from sgm_jax.inverse.blur import Blur, CircularBlur, gaussian_kernel, motion_kernel, uniform_kernel
from sgm_jax.inverse.checks import check_adjoint, check_measurement
from sgm_jax.inverse.composed import Composition, Linear, NonLinear
from sgm_jax.inverse.compressed_sensing import Dense, Hadamard, gaussian_sensing
from sgm_jax.inverse.decomposed import Decomposed
from sgm_jax.inverse.magnetic_resonance import (
    FREQUENCY_MASKS,
    FourierMask,
    MultiCoil,
    RealFourierMask,
    coil_sensitivities,
)
from sgm_jax.inverse.masks import MASKS
from sgm_jax.inverse.nonlinear import JPEG, HighDynamicRange, PhaseRetrieval
from sgm_jax.inverse.operator import AbstractLinear, AbstractOperator, AbstractSpectral
from sgm_jax.inverse.pixel import LUMA, Grey, Mask, Separable, average, bicubic
from sgm_jax.inverse.replacement import Replacement, inpaint
from sgm_jax.inverse.tomography import WINDOWS, Radon, filtered_back_projection
from sgm_jax.inverse.total_variation import operator_norm, total_variation

__all__ = [
    "FREQUENCY_MASKS",
    "JPEG",
    "LUMA",
    "MASKS",
    "WINDOWS",
    "AbstractLinear",
    "AbstractOperator",
    "AbstractSpectral",
    "Blur",
    "CircularBlur",
    "Composition",
    "Decomposed",
    "Dense",
    "FourierMask",
    "Grey",
    "Hadamard",
    "HighDynamicRange",
    "Linear",
    "Mask",
    "MultiCoil",
    "NonLinear",
    "PhaseRetrieval",
    "Radon",
    "RealFourierMask",
    "Replacement",
    "Separable",
    "average",
    "bicubic",
    "check_adjoint",
    "check_measurement",
    "coil_sensitivities",
    "filtered_back_projection",
    "gaussian_kernel",
    "gaussian_sensing",
    "inpaint",
    "motion_kernel",
    "operator_norm",
    "total_variation",
    "uniform_kernel",
]
