"""Evaluation: how far samples are from data, in the features of a classifier."""

from sgm_jax.evaluation.classifier import Classifier as Classifier
from sgm_jax.evaluation.classifier import train_classifier as train_classifier
from sgm_jax.evaluation.frechet import frechet_distance as frechet_distance
from sgm_jax.evaluation.quality import quality as quality
