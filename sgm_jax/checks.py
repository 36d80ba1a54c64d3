"""Checks of a config before any long work, and the noise levels that it asks for."""

import functools
import inspect
from collections.abc import Mapping

import jax
from ml_collections import ConfigDict
from numpy.typing import NDArray

from sgm_jax import data as datasets
from sgm_jax import evaluation, sampling
from sgm_jax.augmentation import LABELS as AUGMENT_LABELS
from sgm_jax.components import (
    DEQUANTISATIONS,
    PROCESSES,
    REDUCTIONS,
    SCHEDULE_FUNCTIONS,
    SPLITS,
    THRESHOLDS,
    make_divergence,
)
from sgm_jax.naming import choose, set_options
from sgm_jax.samplers import make_solver
from sgm_jax.sde import AbstractSDE
from sgm_jax.tasks import make_problem
from sgm_jax.training import PowerProfile
from sgm_jax.training.averaging import WARMUPS
from sgm_jax.training.parallel import PROGRAMS


def sampling_levels(config: ConfigDict, sde: AbstractSDE) -> NDArray | None:
    """Return the noise levels of fixed steps [steps + 1], those a fit starts from where they are to be fitted."""
    section = config.sampling
    if section.steps is None:
        return None
    start = choose("fit.start", config.fit.start, SCHEDULE_FUNCTIONS)
    function = choose("sampling.schedule", section.schedule, SCHEDULE_FUNCTIONS | {"fitted": start})
    options = {key: section[key] for key in ("rho", "s_min", "s_max", "t_min")}
    # The solver may have a data_scale too; it is the schedule's only where the schedule takes it.
    if "data_scale" in inspect.signature(function).parameters:
        options["data_scale"] = section.data_scale
    function = functools.partial(function, **set_options(f"sampling.schedule {section.schedule!r}", function, options))
    return (sampling.then_zero(function) if section.to_zero else function)(sde, section.steps)


def check_training(section: ConfigDict, clip: float | None) -> None:
    """Check the section on training, and the largest norm of gradients."""
    for name in ("batch_size", "accumulate"):
        if section[name] is None or section[name] < 1:
            raise ValueError(f"train.{name} must be at least 1, got {section[name]}")
    if section.batch_size % section.accumulate:
        raise ValueError(
            f"train.batch_size must be a multiple of train.accumulate={section.accumulate}, got {section.batch_size}"
        )
    if not 0 <= section.ema_rate < 1:
        raise ValueError(f"train.ema_rate must be in [0, 1), got {section.ema_rate}")
    if not 0 <= section.label_dropout <= 1:
        raise ValueError(f"train.label_dropout must be in [0, 1], got {section.label_dropout}")
    if clip is not None and not clip > 0:
        raise ValueError(f"optimizer.clip must be positive, or None for gradients of any norm, got {clip}")
    choose("train.ema_warmup", section.ema_warmup, WARMUPS)
    choose("train.dequantisation", section.dequantisation, DEQUANTISATIONS)
    choose("train.reduction", section.reduction, REDUCTIONS)
    for width in section.posthoc:
        PowerProfile(width)


def check_sampling(config: ConfigDict, sde: AbstractSDE) -> None:
    """Check the sections that are only used after training."""
    section = config.sampling
    choose("sampling.final", section.final, dict.fromkeys(("tweedie", "none")))
    choose("sampling.threshold", section.threshold, THRESHOLDS)
    choose("likelihood.split", config.likelihood.split, dict.fromkeys(SPLITS))
    make_divergence(config.likelihood)
    counts = [("sampling.count", section.count), ("sampling.batch_size", section.batch_size)]
    if section.steps is None and section.rtol is None:
        raise ValueError("sampling needs steps, or rtol and atol, got none of them")
    if section.steps is not None:
        counts.append(("sampling.steps", section.steps))
    if config.likelihood.count is not None:
        counts.append(("likelihood.count", config.likelihood.count))
    for name, value in [
        *counts,
        *((f"likelihood.{name}", config.likelihood[name]) for name in ("batch_size", "repeats", "importance")),
        ("inverse.count", config.inverse.count),
        ("inverse.steps", config.inverse.steps),
        ("fit.count", config.fit.count),
        ("fit.iterations", config.fit.iterations),
    ]:
        if value is None or value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    # What `sample` would say after the training it says now.
    process = choose("sampling.process", section.process, PROCESSES)(sde, lambda t, x: x)
    levels = sampling_levels(config, sde)
    sampling.fit_solver(process, make_solver(section, sde, levels), section.rtol, section.atol)
    sampling.resolve_levels(sde, levels, section.steps, section.rtol is not None)
    if section.schedule == "fitted":
        if section.process != "probability_flow" or section.steps is None:
            raise ValueError(
                "sampling.schedule 'fitted' needs process 'probability_flow' and a number of steps, got process "
                f"{section.process!r} and steps {section.steps}"
            )
        final = "none" if section.to_zero else "tweedie"
        if section.final != final:
            raise ValueError(
                f"sampling.schedule 'fitted' with to_zero={section.to_zero} needs final {final!r}, got "
                f"{section.final!r}"
            )


def check_parallel(config: ConfigDict, coupled: bool) -> None:
    """Check all of the section on devices that does not depend on how many there are.

    Args:
        config: the config.
        coupled: whether losses couple the examples of a batch.
    """
    section, train = config.parallel, config.train
    choose("parallel.mode", section.mode, PROGRAMS)
    if section.mode == "pmap" and (section.fsdp, section.model) != (1, 1):
        raise ValueError(
            f"parallel.mode 'pmap' needs fsdp=1 and model=1, got fsdp={section.fsdp} and model={section.model}"
        )
    if section.mode == "pmap" and coupled:
        raise ValueError(f"parallel.mode must be 'jit' for objective {config.objective!r}, got 'pmap'")
    steps = section.steps_per_dispatch
    if steps < 1:
        raise ValueError(f"parallel.steps_per_dispatch must be at least 1, got {steps}")
    names = ("steps", "log_every", "eval_every", "checkpoint_every")
    left = [f"train.{name}={train[name]}" for name in names if train[name] % steps]
    if left:
        raise ValueError(f"parallel.steps_per_dispatch must divide {', '.join(left)}, got {steps}")


def check_unused(config: ConfigDict, unused: Mapping[str, str]) -> None:
    """Check that what the objective's loss has no use for is left as it is: `unused` has fields of `train` by value."""
    for name, value in unused.items():
        if config.train[name] != value:
            raise ValueError(
                f"train.{name} is not used by objective {config.objective!r} and must be left at {value!r}, got "
                f"{config.train[name]!r}"
            )


def check_evaluation(config: ConfigDict) -> None:
    """Check the section on evaluation."""
    section = config.evaluation
    for name, table in (("variant", evaluation.VARIANTS), ("resize", evaluation.RESIZES), ("split", SPLITS)):
        choose(f"evaluation.{name}", section[name], dict.fromkeys(table))
    for name in section.metrics:
        choose("evaluation.metrics", name, evaluation.METRICS)
    choose("evaluation.checkpoints", section.checkpoints, dict.fromkeys(("latest", "all")))
    if section.checkpoints == "all" and "fid" not in section.metrics:
        raise ValueError(f"evaluation.checkpoints 'all' needs 'fid' among evaluation.metrics, got {section.metrics}")
    for name in ("count", "batch_size", "keep", "splits", "save_every"):
        if section[name] is not None and section[name] < 1:
            raise ValueError(f"evaluation.{name} must be at least 1, got {section[name]}")
    if section.features == "inception":
        evaluation.plan(section.metrics, section.count or config.sampling.count)


def check_rank(name: str, shape: tuple[int, ...]) -> None:
    """Check that the network works on data of this shape."""
    wanted, rank = ("vectors [d]", 1) if name in ("mlp", "energy_mlp") else ("images [h, w, c]", 3)
    if len(shape) != rank:
        raise ValueError(f"network {name!r} works on {wanted}, got data of shape {shape}")


def check_classes(config: ConfigDict, dataset: datasets.Dataset) -> None:
    """Check that network and data agree about the classes."""
    classes = config.network.get("num_classes") or 0
    if classes and dataset.num_classes is None:
        raise ValueError(f"network.num_classes needs data with labels, got {classes} for {dataset.name!r} without")
    if classes and classes != dataset.num_classes:
        raise ValueError(f"network.num_classes must be the data's {dataset.num_classes} classes, got {classes}")


def check_guidance(config: ConfigDict, dataset: datasets.Dataset) -> None:
    """Check what classes samples are asked for, and how they are guided."""
    section, classes = config.sampling, config.network.get("num_classes") or 0
    label, interval = section.label, section.guidance_interval
    if section.classifier is not None and section.guide is not None:
        raise ValueError(
            f"sampling.classifier and sampling.guide exclude each other, got {section.classifier!r} and "
            f"{section.guide!r}"
        )
    if interval is not None and not (
        len(interval) == 2 and all(isinstance(s, int | float) for s in interval) and 0 <= interval[0] < interval[1]
    ):
        raise ValueError(
            f"sampling.guidance_interval must be two noise levels (low, high) with 0 <= low < high, got {interval}"
        )
    if label is None and section.classifier is not None:
        raise ValueError(f"sampling.classifier needs a sampling.label, got {section.classifier!r} without")
    if label is None and section.guidance != 1 and section.guide is None:
        raise ValueError(f"sampling.guidance needs a sampling.label, got guidance={section.guidance} without")
    if label is None:
        return
    if not classes and section.classifier is not None:
        classes = dataset.num_classes or 0
    if not classes:
        raise ValueError(
            f"sampling.label needs a network with num_classes, or a sampling.classifier and data with labels, got "
            f"{label!r} without"
        )
    if label != "balanced" and not (type(label) is int and 0 <= label < classes):
        raise ValueError(f"sampling.label must be None, 'balanced' or a class in [0, {classes}), got {label!r}")


def check_augmentation(config: ConfigDict, shape: tuple[int, ...]) -> None:
    """Check that data and network suit the augmentation in training."""
    name, labels = config.train.augmentation, config.network.get("augment_labels") or 0
    if name != "none" and len(shape) != 3:
        raise ValueError(f"train.augmentation {name!r} works on images [h, w, c], got data of shape {shape}")
    if name == "edm" and labels != AUGMENT_LABELS:
        raise ValueError(f"network.augment_labels must be {AUGMENT_LABELS} for train.augmentation 'edm', got {labels}")


def check_inverse(config: ConfigDict, shape: tuple[int, ...]) -> None:
    """Check the section on inverse problems, where the data are images."""
    if len(shape) == 3:
        make_problem(jax.random.key(config.seed), config.inverse, shape)
