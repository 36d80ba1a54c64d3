"""Fitted samplers on disk: what `fit_schedule` found, with a record of what it was found for."""

import json
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import diffrax
import equinox as eqx
import jax
import numpy as np

from sgm_jax import sampling
from sgm_jax.experiment import Experiment
from sgm_jax.sampling import FittedSampler
from sgm_jax.shapes import PRNGKey
from sgm_jax.stored import checkpoint_store
from sgm_jax.training import Checkpoints


class FitMismatch(ValueError):
    """The file holds the fit of another sampler, or for another model."""


def save_fitted(path: str | pathlib.Path, fitted: FittedSampler, made_for: Mapping[str, Any]) -> None:
    """Write a fitted sampler to an npz file.

    Args:
        path: the file, its name ending in `.npz`.
        fitted: what `fit_schedule` returned.
        made_for: what the fit belongs to (the model, the solver and its options), by names of your choice: whatever
            JSON can hold.
    """
    arrays = {f"solver_{i}": leaf for i, leaf in enumerate(jax.tree.leaves(_fitted_part(fitted.solver)))}
    np.savez(
        path,
        schedule=fitted.schedule,
        final=fitted.final,
        before=fitted.before,
        after=fitted.after,
        made_for=json.dumps(dict(made_for)),
        **arrays,
    )


def load_fitted(path: str | pathlib.Path, solver: diffrax.AbstractSolver, made_for: Mapping[str, Any]) -> FittedSampler:
    """Read a fitted sampler that `save_fitted` wrote.

    Args:
        path: the file.
        solver: a solver of the kind that was fitted; its floating-point arrays are replaced by the fitted ones.
        made_for: what the fit must belong to, as it was given to `save_fitted`.

    Returns:
        The fitted sampler.

    Raises:
        FileNotFoundError: if there is no such file.
        FitMismatch: if it was made for something else, naming what differs, or for a solver with other arrays.
    """
    with np.load(path, allow_pickle=False) as file:
        found, wanted = json.loads(str(file["made_for"])), json.loads(json.dumps(dict(made_for)))
        differing = [name for name in wanted | found if found.get(name) != wanted.get(name)]
        if differing:
            was = ", ".join(f"{name} {found.get(name)!r} (now {wanted.get(name)!r})" for name in differing)
            raise FitMismatch(f"{path} was fitted for {was}")
        leaves, structure = jax.tree.flatten(_fitted_part(solver))
        stored = [file[name] for name in file.files if name.startswith("solver_")]
        if [leaf.shape for leaf in leaves] != [array.shape for array in stored]:
            raise FitMismatch(
                f"{path} holds arrays of shapes {[array.shape for array in stored]} for the solver, "
                f"{type(solver).__name__} has {[leaf.shape for leaf in leaves]}"
            )
        arrays = [jax.numpy.asarray(array, leaf.dtype) for array, leaf in zip(stored, leaves, strict=True)]
        return FittedSampler(
            schedule=file["schedule"],
            solver=eqx.combine(jax.tree.unflatten(structure, arrays), solver),
            final=str(file["final"]),
            before=float(file["before"]),
            after=float(file["after"]),
        )


def _fitted_part(solver: diffrax.AbstractSolver) -> diffrax.AbstractSolver:
    return eqx.filter(solver, eqx.is_inexact_array)


# ------------------------------------------------------------------------------------------ of an experiment


def fit(key: PRNGKey, experiment: Experiment, workdir: pathlib.Path, params: Any) -> None:
    """Fit the sampler that a config names to its network, and write it into the run's folder.

    The levels and the coefficients of a `TabulatedMultistep` by `fit_coefficients`, the levels of any other solver by
    `fit_schedule`.

    Args:
        key: PRNG key of the calibration noises.
        experiment: the experiment; its `sampling` section says what is fitted, its `fit` section how.
        workdir: the run's folder.
        params: the network's parameters.
    """
    section, chosen = experiment.config.sampling, experiment.config.fit
    options, begun = experiment.sampler(), time.perf_counter()
    process = experiment.process(params)
    assert isinstance(process, sampling.ProbabilityFlow)  # as a schedule that is fitted needs it
    problem = key, process, (chosen.count, *experiment.dataset.shape), section.steps
    solver, start = options["solver"], options["schedule"]
    if isinstance(solver, sampling.TabulatedMultistep):
        fitted = sampling.fit_coefficients(*problem, start=start, rounds=chosen.rounds)
    else:
        fitted = sampling.fit_schedule(*problem, solver=solver, start=start, iterations=chosen.iterations)
    path = fitted_path(experiment, workdir)
    save_fitted(path, fitted, made_for(experiment, workdir))
    before, after = np.exp(0.5 * np.array([fitted.before, fitted.after]))
    print(
        f"{section.solver} fitted in {section.steps} steps and {time.perf_counter() - begun:.0f} s, error of a typical "
        f"calibration sample {before:.4f} before, {after:.4f} after: {path}"
    )


def sampler(experiment: Experiment, workdir: pathlib.Path) -> dict[str, Any]:
    """Return the options of `sgm_jax.sample`, those of the fit in `workdir` where the config asks for one.

    Raises:
        FitMismatch: if the config asks for a fit and there is none, or one for something else.
    """
    options, path = experiment.sampler(), fitted_path(experiment, workdir)
    if experiment.config.sampling.schedule != "fitted":
        return options
    try:
        fitted = load_fitted(path, options["solver"], made_for(experiment, workdir))
    except FileNotFoundError as error:
        raise FitMismatch(f"there is no {path}; the same command with --mode=fit makes it") from error
    except FitMismatch as error:
        raise FitMismatch(f"{error}; the same command with --mode=fit makes it anew") from error
    return options | {"solver": fitted.solver, "schedule": fitted.schedule}


def is_there(experiment: Experiment, workdir: pathlib.Path) -> bool:
    """Tell whether the run's folder holds the fit that the config asks for."""
    try:
        sampler(experiment, workdir)
    except FitMismatch:
        return False
    return True


def fitted_path(experiment: Experiment, workdir: pathlib.Path) -> pathlib.Path:
    """Return the file of the config's fitted sampler."""
    section = experiment.config.sampling
    return workdir / f"fitted_{section.solver}_{section.steps}.npz"


def made_for(experiment: Experiment, workdir: pathlib.Path) -> dict[str, Any]:
    """Return what a fit belongs to: the checkpoint, and what is sampled from it and how."""
    config = experiment.config.to_dict()
    parts = {name: config[name] for name in ("sde", "prediction", "sampling")}
    for name in ("schedule", "count", "batch_size", "platforms"):
        del parts["sampling"][name]
    with Checkpoints(checkpoint_store(experiment.config, workdir)) as checkpoints:
        found = {"checkpoint": checkpoints.latest}
    return found | {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
