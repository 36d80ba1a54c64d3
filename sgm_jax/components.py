"""The parts that configs name, and how a config's section becomes one: tables of constructors."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from sgm_jax import objectives, sampling, sde
from sgm_jax.divergence import DIVERGENCES, AbstractDivergence
from sgm_jax.learned_schedule import learned_vp
from sgm_jax.naming import choose, construct
from sgm_jax.networks import MLP, DiT, UNet, VDMUNet, ncsn, ncsnv2, ncsnv2_deeper, ncsnv2_deepest
from sgm_jax.score import PREDICTIONS as SCORE_PREDICTIONS
from sgm_jax.score import level_score
from sgm_jax.shapes import PRNGKey

SDES = {
    "cosine": sde.Cosine,
    "edm": sde.EDM,
    "learned_vp": learned_vp,
    "rectified_flow": sde.RectifiedFlow,
    "subvp": sde.SubVP,
    "ve": sde.VE,
    "vp": sde.VP,
}
NETWORKS = {
    "dit": DiT,
    "mlp": MLP,
    "ncsn": ncsn,
    "ncsnv2": ncsnv2,
    "ncsnv2_deeper": ncsnv2_deeper,
    "ncsnv2_deepest": ncsnv2_deepest,
    "unet": UNet,
    "vdm": VDMUNet,
}
# The last one is of use only with the noise levels of its network, so it has no name outside a config.
PREDICTIONS = SCORE_PREDICTIONS | {"level_score": level_score}
WEIGHTINGS = {
    "edm": objectives.EDMWeighting,
    "likelihood": lambda: objectives.likelihood_weighting,
    "min_snr": objectives.MinSNRWeighting,
    "noise": lambda: objectives.noise_weighting,
}
TIMES = {
    "log_normal": objectives.LogNormalTimes,
    "log_uniform": objectives.LogUniformTimes,
    "uniform": objectives.UniformTimes,
}
QUANTILES = {
    "independent": objectives.independent_quantiles,
    "stratified": objectives.stratified_quantiles,
}
PROCESSES = {"probability_flow": sampling.ProbabilityFlow, "reverse_sde": sampling.ReverseSDE}
SCHEDULE_FUNCTIONS = {
    "discrete_ve": sampling.discrete_ve,
    "discrete_vp": sampling.discrete_vp,
    "karras": sampling.karras,
    "quadratic_time": sampling.quadratic_time,
    "score_sde": sampling.score_sde_schedule,
    "uniform_angle": sampling.uniform_angle,
    "uniform_log_snr": sampling.uniform_log_snr,
    "uniform_time": sampling.uniform_time,
}
SPLITS = ("train", "test")
THRESHOLDS = {"none": None, "static": sampling.StaticThreshold, "dynamic": sampling.DynamicThreshold}


def identity(key: PRNGKey, x: Array) -> Array:
    """Leave the data as they are."""
    return x


def flip_horizontally(key: PRNGKey, images: Array) -> Array:
    """Mirror each image [b, h, w, c] left to right with probability one half."""
    mirrored = jax.random.bernoulli(key, shape=(images.shape[0], 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1], images)


AUGMENTATIONS = {"none": identity, "flip": flip_horizontally}


def build(what: str, section: Mapping[str, Any] | ConfigDict, table: Mapping[str, Callable], **options) -> Any:
    """Construct what `section.name` names with the section's other entries that are set.

    Raises:
        ValueError: if the name is unknown or an entry is not an option of what is named, with the nearest match.
    """
    constructor = choose(f"{what}.name", section["name"], table)
    rest = {key: value for key, value in section.items() if key != "name"}
    return construct(f"{what} {section['name']!r}", constructor, rest | options)


def make_divergence(section: ConfigDict) -> AbstractDivergence:
    """Construct the divergence of the config's `likelihood` section.

    Raises:
        ValueError: if its name is unknown, or it takes no `probes` or not so many.
    """
    constructor = choose("likelihood.divergence", section.divergence, DIVERGENCES)
    return construct(f"likelihood.divergence {section.divergence!r}", constructor, {"probes": section.probes})
