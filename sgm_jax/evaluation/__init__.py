"""Evaluation: how far samples are from data, in the features of a classifier, and reconstructions from the truth."""

from sgm_jax.evaluation.classifier import Classifier as Classifier
from sgm_jax.evaluation.classifier import train_classifier as train_classifier
from sgm_jax.evaluation.frechet import frechet_distance as frechet_distance
from sgm_jax.evaluation.quality import quality as quality
from sgm_jax.evaluation.reconstruction import coverage as coverage
from sgm_jax.evaluation.reconstruction import gaussian_weights as gaussian_weights
from sgm_jax.evaluation.reconstruction import psnr as psnr
from sgm_jax.evaluation.reconstruction import relative_residual as relative_residual
from sgm_jax.evaluation.reconstruction import ssim as ssim
from sgm_jax.evaluation.reconstruction import uniform_weights as uniform_weights
