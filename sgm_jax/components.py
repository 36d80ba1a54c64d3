"""The parts that configs name, and how a config's section becomes one: tables of constructors."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from sgm_jax import objectives, sampling, sde
from sgm_jax.divergence import DIVERGENCES, PROJECTIONS, AbstractDivergence
from sgm_jax.learned_schedule import learned_vp
from sgm_jax.naming import choose, construct
from sgm_jax.networks import MLP, Conservative, DiT, UNet, VDMUNet, ncsn, ncsnv2, ncsnv2_deeper, ncsnv2_deepest
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
    "energy_mlp": lambda **options: Conservative(construct("network 'energy_mlp'", MLP, options)),
    "energy_unet": lambda **options: Conservative(construct("network 'energy_unet'", UNet, options)),
    "mlp": MLP,
    "ncsn": ncsn,
    "ncsnv2": ncsnv2,
    "ncsnv2_deeper": ncsnv2_deeper,
    "ncsnv2_deepest": ncsnv2_deepest,
    "unet": UNet,
    "vdm": VDMUNet,
}
DTYPES = {"bfloat16": jnp.bfloat16, "float32": jnp.float32}
# The last one is of use only with the noise levels of its network, so it has no name outside a config.
PREDICTIONS = SCORE_PREDICTIONS | {"level_score": level_score}


def projected(form: Callable, slices: int, projection: str, **options: float) -> objectives.Matching:
    """Return a form of score matching along random projections; what training would say of the numbers is said now."""
    projection = choose("matching.projection", projection, PROJECTIONS)
    matching = functools.partial(form, slices=slices, projection=projection, **options)
    jax.eval_shape(lambda key, x: matching(key, lambda x: x, x), jax.random.key(0), jnp.zeros((1, 1)))
    return matching


def over_noise_levels(make: Callable[..., objectives.Matching]) -> Callable[..., Callable]:
    """Return the maker of an objective over noise levels from that of a form of score matching at one density."""

    @functools.wraps(make)
    def noisy(**options):
        return functools.partial(objectives.over_noise_levels, matching=make(**options))

    return noisy


# Forms of score matching: at one density, `(key, score, x) -> losses`, and over noise levels,
# `(key, sde, score_fn, x0, *, weighting, times) -> losses`.
FORMS = {
    "finite_difference": lambda slices=1, projection="rademacher", step=1e-2: projected(
        objectives.finite_difference_score_matching, slices, projection, step=step
    ),
    "implicit": lambda: objectives.MATCHINGS["implicit"],
    "sliced": lambda slices=1, projection="rademacher": projected(objectives.sliced_score_matching, slices, projection),
    "sliced_vr": lambda slices=1, projection="rademacher": projected(
        objectives.sliced_score_matching_vr, slices, projection
    ),
}
MATCHINGS = {"denoising": lambda: objectives.denoising_score_matching} | {
    name: over_noise_levels(make) for name, make in FORMS.items()
}
WEIGHTINGS = {
    "edm": objectives.EDMWeighting,
    "likelihood": lambda: objectives.likelihood_weighting,
    "min_snr": objectives.MinSNRWeighting,
    "noise": lambda: objectives.noise_weighting,
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
    "langevin_levels": sampling.langevin_levels,
    "quadratic_time": sampling.quadratic_time,
    "score_sde": sampling.score_sde_schedule,
    "uniform_angle": sampling.uniform_angle,
    "uniform_log_snr": sampling.uniform_log_snr,
    "uniform_time": sampling.uniform_time,
}
SPLITS = ("train", "test")


def level_times(quantiles: Callable, levels: int = 1000, schedule: str = "uniform_log_snr") -> objectives.LevelTimes:
    """Return the times of a discrete set of noise levels: `levels` of them, by a schedule of the samplers'."""
    if levels < 2:
        raise ValueError(f"times.levels must be at least 2, got {levels}")
    function = choose("times.schedule", schedule, SCHEDULE_FUNCTIONS)
    return objectives.LevelTimes(lambda sde: function(sde, levels - 1), quantiles)


TIMES = {
    "levels": level_times,
    "log_normal": objectives.LogNormalTimes,
    "log_uniform": objectives.LogUniformTimes,
    "uniform": objectives.UniformTimes,
}
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


def make_network(section: ConfigDict, table: Mapping[str, Callable], **options: Any) -> Any:
    """Construct the network that the config's `network` section names.

    Raises:
        ValueError: as `build`, and if its `dtype` is not one that networks compute in.
    """
    if section.get("dtype") is not None:
        options["dtype"] = choose("network.dtype", section.dtype, DTYPES)
    return build("network", section, table, **options)


def make_divergence(section: ConfigDict) -> AbstractDivergence:
    """Construct the divergence of the config's `likelihood` section.

    Raises:
        ValueError: if its name is unknown, or it takes no `probes` or not so many.
    """
    constructor = choose("likelihood.divergence", section.divergence, DIVERGENCES)
    return construct(f"likelihood.divergence {section.divergence!r}", constructor, {"probes": section.probes})
