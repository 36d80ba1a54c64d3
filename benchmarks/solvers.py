"""Error per evaluation of the score, beside diffusers and azula: `python benchmarks/solvers.py`.

Every library is given the exact model of one Gaussian mixture: 8 components of equal weight, means `4 N(0, I)`,
standard deviation 0.3, in 2 and 64 dimensions, float64. The error is that of each of 1,024 samples to the exact
probability flow from the very state the sampler starts at, per coordinate: `rms` over all samples (ruled by the few that
change mode) and `median` over them. The last evaluation, which denoises, is counted. Peers run where they are installed:
`pip install -e '.[parity]'`. Our rows run under each SDE in turn and are named by it.
"""

import argparse
import importlib.util
import json
import time
from collections.abc import Callable, Iterator

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import sgm_jax as sgm
from sgm_jax.sampling import (
    DenoisedForm,
    ExponentialAdams,
    NoiseForm,
    SoftLog,
    UniPC,
    VelocityForm,
    fit_schedule,
)

jax.config.update("jax_enable_x64", True)

EVALUATIONS = (5, 8, 10, 15, 20, 50, 100)
STD, COUNT = 0.3, 1024
SDES = {"EDM": sgm.EDM(), "VP": sgm.VP(), "VE": sgm.VE()}


def mixture_means(d: int) -> np.ndarray:
    return 4 * np.random.default_rng(0).standard_normal((8, d))


def score_fn(sde, means):
    """Return the exact score of the mixture under any SDE."""

    def score(t, x):
        alpha, sigma = (value if jnp.ndim(value) == 0 else value[:, None] for value in (sde.alpha(t), sde.sigma(t)))
        variance = (alpha * STD) ** 2 + sigma**2
        squares = jnp.sum(x**2, 1, keepdims=True) - 2 * alpha * x @ means.T + alpha**2 * jnp.sum(means**2, 1)
        weights = jax.nn.softmax(-0.5 * squares / variance, axis=1)
        return (alpha * weights @ means - x) / variance

    return score


def exact_flow(means: np.ndarray) -> Callable:
    """Return `(x / alpha, s) -> samples`: the probability flow solved to 1e-11."""

    @jax.jit
    def solve(start, high):
        sde = sgm.EDM(t_min=1e-5, t_max=1e4)
        process = sgm.ProbabilityFlow(sde, score_fn(sde, jnp.asarray(means)), sgm.Angle())
        ends = jnp.stack([high, jnp.asarray(1e-5)])
        options = dict(schedule=ends, solver=diffrax.Dopri8(), rtol=1e-11, atol=1e-11, max_steps=100_000)
        return sgm.sample(jax.random.key(0), process, start.shape, x_init=start, **options).x

    return lambda start, high: np.asarray(solve(jnp.asarray(start, jnp.float64), jnp.asarray(high, jnp.float64)))


def errors(row, evaluations: int, reference: Callable) -> tuple[float, float]:
    """Return the root mean square and the median error of a row, NaN where it gave no numbers."""
    start, high, result = row(evaluations)
    each = np.sqrt(np.mean((np.asarray(result, np.float64) - reference(start, high)) ** 2, 1))
    return float(np.sqrt(np.mean(each**2))), float(np.median(each))
