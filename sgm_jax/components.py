"""The parts that configs name, and how a config's section becomes one: tables of constructors."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from sgm_jax import augmentation, objectives, sampling, sde
from sgm_jax import data as datasets
from sgm_jax.divergence import DIVERGENCES, PROJECTIONS, AbstractDivergence
from sgm_jax.labels import InterpolatedStep, LogLevel, Sigma
from sgm_jax.learned_schedule import learned_vp
from sgm_jax.naming import choose, construct
from sgm_jax.networks import MLP, Conservative, DiT, UNet, VDMUNet, ncsn, ncsnv2, ncsnv2_deeper, ncsnv2_deepest
from sgm_jax.scaling import AbstractScaling, LogitScaling, Scaling
from sgm_jax.score import PREDICTIONS as SCORE_PREDICTIONS
from sgm_jax.score import ConsistencyPreconditioned, Labelled, Noise, Score, level_score

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


def step_noise(levels: int = 1000) -> Labelled:
    """Return the prediction of DDPM: the noise, of a network fed the number of the level, 0 that of the least noise.

    Between two of the levels, which are those of the rates 0.1 and 20, it is fed a fraction.

    References:
        Ho, Jain, Abbeel, Denoising Diffusion Probabilistic Models, 2020, algorithm 1.
    """
    ascending = sampling.discrete_vp(sde.VP(), levels - 1, points=levels)[::-1]
    return Labelled(Noise(), InterpolatedStep(tuple(ascending.tolist())))


# Those added here need no name outside configs: they feed the network a noise label of its own in place of the time, or
# are made for one smallest noise level.
PREDICTIONS = SCORE_PREDICTIONS | {
    "consistency": ConsistencyPreconditioned,
    "gamma_noise": lambda: Labelled(Noise(), LogLevel(2.0)),  # VDM's: the negative log signal-to-noise ratio
    "level_score": level_score,
    "sigma_score": lambda: Labelled(Score(), Sigma()),
    "step_noise": step_noise,
}


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
    "flow": lambda: objectives.flow_weighting,
    "likelihood": lambda: objectives.likelihood_weighting,
    "min_snr": objectives.MinSNRWeighting,
    "noise": lambda: objectives.noise_weighting,
    "snr_plus_one": lambda: objectives.snr_plus_one_weighting,
    "truncated_snr": lambda: objectives.truncated_snr_weighting,
}
QUANTILES = {
    "independent": objectives.independent_quantiles,
    "stratified": objectives.stratified_quantiles,
}
# What half the squared error of an example is multiplied by, given its number of dimensions.
REDUCTIONS = {
    "half_mean": lambda size: 1 / size,
    "half_sum": lambda size: 1.0,
    "mean": lambda size: 2 / size,
    "sum": lambda size: 2.0,
}
# Where in its bin a raw integer is put in training.
DEQUANTISATIONS = {
    "none": lambda scaling, key, raw: scaling.to_model(raw),
    "uniform": AbstractScaling.dequantise,
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
# Fields of the `data` section that are not options of the data set it names.
DATA_FIELDS = ("name", "transform", "low", "high", "alpha", "cache", "workers", "prefetch")
SCALINGS = {"affine": Scaling, "logit": LogitScaling}


def level_times(quantiles: Callable, levels: int = 1000, schedule: str = "uniform_log_snr") -> objectives.LevelTimes:
    """Return the times of a discrete set of noise levels: `levels` of them, by a schedule of the samplers'."""
    if levels < 2:
        raise ValueError(f"times.levels must be at least 2, got {levels}")
    function = choose("times.schedule", schedule, SCHEDULE_FUNCTIONS)
    return objectives.LevelTimes(lambda sde: function(sde, levels - 1), quantiles)


TIMES = {
    "karras": objectives.KarrasTimes,
    "levels": level_times,
    "log_normal": objectives.LogNormalTimes,
    "log_uniform": objectives.LogUniformTimes,
    "truncated_log_normal": objectives.TruncatedLogNormalTimes,
    "uniform": objectives.UniformTimes,
}
THRESHOLDS = {"none": None, "static": sampling.StaticThreshold, "dynamic": sampling.DynamicThreshold}


AUGMENTATIONS = {
    "edm": augmentation.Geometric,
    "flip": lambda: augmentation.flip_horizontally,
    "none": lambda: augmentation.identity,
}


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


def data_options(section: ConfigDict) -> dict[str, Any]:
    """Return the options of the data set that the config's `data` section names."""
    return {name: value for name, value in section.items() if name not in DATA_FIELDS and value is not None}


def load_data(section: ConfigDict) -> datasets.Dataset:
    """Load the data that the config's `data` section names, to be kept in memory where they fit into `data.cache`.

    Raises:
        ValueError: if the name or an option is unknown, or the data are not prepared or not usable.
    """
    return datasets.cached(datasets.load(section.name, **data_options(section)), section.cache)


def describe_data(section: ConfigDict, num_classes: int | None = None) -> datasets.Dataset:
    """Describe the data that the config's `data` section names, without their examples; load those at hand.

    Raises:
        ValueError: if the name is unknown, or nothing tells what the examples look like.
    """
    return datasets.describe(section.name, num_classes, **data_options(section))


def make_scaling(section: ConfigDict, levels: int | None) -> AbstractScaling:
    """Construct the scaling that the config's `data` section names, of data with `levels` values.

    Raises:
        ValueError: if its name is unknown, an option is not its own, or it does not suit the data.
    """
    constructor = functools.partial(choose("data.transform", section.transform, SCALINGS), levels)
    options = {name: section[name] for name in ("low", "high", "alpha")}
    return construct(f"data.transform {section.transform!r}", constructor, options)


def make_augmentation(section: ConfigDict) -> Callable:
    """Construct the augmentation of the config's `train` section.

    Raises:
        ValueError: if its name is unknown, or it takes no `augment_probability` or not this one.
    """
    constructor = choose("train.augmentation", section.augmentation, AUGMENTATIONS)
    return construct(
        f"train.augmentation {section.augmentation!r}",
        constructor,
        {"augment_probability": section.augment_probability},
    )


def make_divergence(section: ConfigDict) -> AbstractDivergence:
    """Construct the divergence of the config's `likelihood` section.

    Raises:
        ValueError: if its name is unknown, or it takes no `probes` or not so many.
    """
    constructor = choose("likelihood.divergence", section.divergence, DIVERGENCES)
    return construct(f"likelihood.divergence {section.divergence!r}", constructor, {"probes": section.probes})
