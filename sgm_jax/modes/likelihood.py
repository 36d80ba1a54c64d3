"""Likelihoods of held-out data."""

import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from sgm_jax import likelihood
from sgm_jax.experiment import Experiment
from sgm_jax.modes.shared import LIKELIHOOD, held_out_batch, stream, write_json
from sgm_jax.sampling import Angle
from sgm_jax.shapes import per_example_keys
from sgm_jax.stored import trained

# Of the held-out data, as `summarise` returns them: (experiment, params) -> figures.
MeasureLikelihood = Callable[[Experiment, Any], dict[str, Any]]


def measure_likelihood(experiment: Experiment, params: Any) -> dict[str, Any]:
    """Compute bits per dimension of held-out data, given their classes where there are any, uniformly dequantised."""
    section = experiment.config.likelihood
    batch = held_out_batch(experiment, section.count)
    held_out, label = batch["x"], experiment.labels(batch)
    count = len(held_out)
    bin_key, probe_key = jax.random.split(stream(experiment, LIKELIHOOD))
    keys = per_example_keys(probe_key, count)
    x = experiment.scaling.dequantise(bin_key, jnp.asarray(held_out))
    log_prob, nfe = [], []
    for start in tqdm(range(0, count, section.batch_size), desc="likelihood", unit="batch", disable=None):
        index = np.minimum(np.arange(start, start + section.batch_size), count - 1)
        out = likelihood.log_likelihood(
            keys[index],
            experiment.sde,
            experiment.score_fn(params, None if label is None else label[index]),
            x[index],
            divergence=likelihood.Hutchinson(section.probes),
            chart=Angle(section.data_scale),
            rtol=section.rtol,
            atol=section.atol,
        )
        log_prob.append(np.asarray(out.log_prob))
        nfe.append(int(out.nfe))
    log_prob = np.concatenate(log_prob)[:count]
    bits = np.asarray(experiment.scaling.bits_per_dim(jnp.asarray(log_prob), x[0].size), np.float64)
    return summarise(log_prob, bits, float(np.mean(nfe)))


def summarise(log_prob: np.ndarray, bits: np.ndarray, evaluations: float) -> dict[str, Any]:
    """Return what is reported of log likelihoods [n] in nats, and of the bits per dimension [n] that they stand for."""
    count = len(bits)
    return {
        "bits_per_dim": float(bits.mean()),
        "standard_error": float(bits.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan"),
        "examples": count,
        "nats_per_example": float(log_prob.mean()),
        "evaluations": evaluations,
        "per_example": bits,
    }


def measure(
    experiment: Experiment, workdir: pathlib.Path, measure_likelihood: MeasureLikelihood = measure_likelihood
) -> int:
    """Write bits per dimension of held-out data to `likelihood.json`; returns the exit code."""
    result = measure_likelihood(*trained(experiment, workdir))
    save_likelihood(result, workdir)
    return 0


def save_likelihood(result: dict[str, Any], workdir: pathlib.Path) -> None:
    """Write likelihoods to the run's folder."""
    write_json(workdir / "likelihood.json", result)
    print(
        f"{result['bits_per_dim']:.4f} ± {result['standard_error']:.4f} bits per dimension on {result['examples']} "
        f"held-out examples ({result['evaluations']:.0f} evaluations)"
    )
