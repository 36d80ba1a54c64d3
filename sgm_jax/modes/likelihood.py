"""Likelihoods of a whole split, or of as many of its examples as are asked for."""

import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sgm_jax import data as datasets
from sgm_jax import likelihood
from sgm_jax.components import make_divergence
from sgm_jax.experiment import Experiment
from sgm_jax.meshes import collect, spread
from sgm_jax.modes import records
from sgm_jax.modes.shared import LIKELIHOOD, Unsuitable, available, dependencies, examples, stream, write_json
from sgm_jax.progress import progress
from sgm_jax.sampling import Angle
from sgm_jax.shapes import PerExample
from sgm_jax.stored import trained

# Of held-out data, as `summarise` returns them: (experiment, workdir, params) -> figures.
MeasureLikelihood = Callable[[Experiment, pathlib.Path, Any], dict[str, Any]]


def measure_likelihood(experiment: Experiment, workdir: pathlib.Path, params: Any) -> dict[str, Any]:
    """Compute bits per dimension of data, given their classes where there are any, uniformly dequantised.

    Each batch is recorded in `likelihood.jsonl` as soon as it is measured. The same call goes on from there, and what
    is drawn for an example depends on its number in the split alone, so that the result is that of an unbroken run.

    Returns:
        `bits_per_dim` and its `standard_error` over examples; `per_example`, each the mean of the repeats;
        `divergence_error`, that of one log-likelihood by its estimated divergence, root mean square, in bits per
        dimension, or None; `nats_per_example`, `evaluations`, and what was measured.

    Raises:
        Unsuitable: if the split is empty, or several dequantisations are asked for of data that have none.
    """
    section, source = experiment.config.likelihood, examples(experiment, experiment.config.likelihood.split)
    if section.importance > 1 and experiment.scaling.levels is None:
        raise Unsuitable(f"likelihood.importance must be 1 for continuous data, got {section.importance}")
    count = available(source, section.count)
    path = workdir / "likelihood.jsonl"
    done = records.resume(path, measured(experiment, params, count))
    draws, size = section.repeats * section.importance, min(section.batch_size, count)
    parts = [(draw, start) for draw in range(draws) for start in range(0, count, size)]
    look = dict(desc="likelihood", total=len(parts), initial=len(done), unit="batch")
    for draw, start in progress(parts[len(done) :], **look):
        # A last, smaller batch is filled up so that the compiled solver serves it too.
        index = np.minimum(np.arange(start, start + size), count - 1)
        log_probability, out = log_likelihood(experiment, params, datasets.gather(source, index), index, draw)
        assert out.nfe is not None  # as the solver is one whose evaluations are counted
        held = min(size, count - start)
        record = {"log_probability": collect(log_probability)[:held], "evaluations": int(out.nfe)}
        if out.standard_error is not None:
            record["standard_error"] = collect(out.standard_error)[:held]
        done.append(records.append(path, record))
    log_probability = np.concatenate([record["log_probability"] for record in done])
    log_probability = jnp.asarray(log_probability.reshape(section.repeats, -1, count))
    nats = np.asarray(jax.vmap(likelihood.importance_weighted)(log_probability), np.float64)
    dimensions = int(np.prod(experiment.dataset.shape))
    bits = -nats.mean(axis=0) / (dimensions * np.log(2))
    return summarise(bits, float(nats.mean()), float(np.mean([record["evaluations"] for record in done]))) | {
        "divergence_error": _root_mean_square(done, dimensions),
        "split": section.split,
        "repeats": section.repeats,
        "importance": section.importance,
    }


def summarise(bits: np.ndarray, nats: float, evaluations: float) -> dict[str, Any]:
    """Return what is reported of bits per dimension [n] and of the mean log-likelihood in nats."""
    count = len(bits)
    return {
        "bits_per_dim": float(bits.mean()),
        "standard_error": float(bits.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan"),
        "examples": count,
        "nats_per_example": nats,
        "evaluations": evaluations,
        "per_example": bits,
    }


def log_likelihood(
    experiment: Experiment, params: Any, batch: dict[str, np.ndarray], index: np.ndarray, draw: int
) -> tuple[PerExample, likelihood.Likelihood]:
    """Return the log-likelihoods of raw examples, dequantised for the `draw`-th time: in raw and in model units.

    They are split over the devices if these divide them.

    Args:
        experiment: the experiment; its `likelihood` section says how.
        params: the network's parameters.
        batch: the examples, `x` [b, ...] and their `label` [b] where there are any.
        index: their numbers in the split [b], which their randomness is a function of.
        draw: number of the draw.
    """
    section = experiment.config.likelihood
    key = jax.random.fold_in(stream(experiment, LIKELIHOOD), draw)
    keys = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(key, i)))(jnp.asarray(index))
    keys, batch = spread((keys, jax.tree.map(jnp.asarray, batch)))
    x = jax.vmap(lambda key, raw: experiment.scaling.dequantise(key, raw[None])[0])(keys[:, 0], batch["x"])
    out = likelihood.log_likelihood(
        keys[:, 1],
        experiment.sde,
        experiment.score_fn(params, experiment.labels(batch)),
        x,
        divergence=make_divergence(section),
        chart=Angle(section.data_scale),
        rtol=section.rtol,
        atol=section.atol,
    )
    return out.log_prob + experiment.scaling.log_volume(x), out


def measured(experiment: Experiment, params: Any, count: int) -> dict[str, Any]:
    """Return all that a measurement depends on, by name."""
    return {"examples": count} | dependencies(experiment, params, ("data", "likelihood"))


def _root_mean_square(done: list[dict[str, Any]], dimensions: int) -> float | None:
    """Return the typical standard error of one log-likelihood, in bits per dimension; None if it is not known."""
    if "standard_error" not in done[0]:
        return None
    errors = np.concatenate([record["standard_error"] for record in done])
    return float(np.sqrt(np.mean(np.square(errors))) / dimensions / np.log(2))


def measure(
    experiment: Experiment, workdir: pathlib.Path, measure_likelihood: MeasureLikelihood = measure_likelihood
) -> int:
    """Write bits per dimension of the split's data to `likelihood.json`; returns the exit code."""
    experiment, params = trained(experiment, workdir)
    result = measure_likelihood(experiment, workdir, params)
    save_likelihood(result, workdir)
    return 0


def save_likelihood(result: dict[str, Any], workdir: pathlib.Path) -> None:
    """Write likelihoods to the run's folder."""
    write_json(workdir / "likelihood.json", result)
    print(
        f"{result['bits_per_dim']:.4f} ± {result['standard_error']:.4f} bits per dimension on {result['examples']} "
        f"examples of the {result['split']} split ({result['evaluations']:.0f} evaluations)"
    )
