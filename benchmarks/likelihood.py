"""Exact likelihoods beside score_sde's way of computing them: `python -m benchmarks.likelihood`.

score_sde hands the ODE to `scipy.integrate.solve_ivp` (RK45): a loop on the host over double-precision vectors, which
calls a compiled drift and a compiled divergence one after the other. Here the whole solve is one compiled program. Both
have the network, the data, the projections and the tolerances in common; what is printed is the difference in bits per
dimension, the ratio of the times, and the evaluations of each; then how much memory solves of several lengths take.
"""

import argparse
import functools
import time

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

import sgm_jax as sgm
from benchmarks import tables
from sgm_jax import data as datasets
from sgm_jax.networks import UNet
from sgm_jax.scaling import Scaling
from sgm_jax.shapes import expand, per_example_keys, sum_per_example

TOLERANCE = 1e-5
KEY = jax.random.key(1)


def score_sde_log_likelihood(sde, score, x, tolerance=TOLERANCE):
    """Return `(x, probe) -> (log_prob [b], evaluations)`, a solve as score_sde makes it."""

    drift = flow_drift(sde, score)

    @jax.jit
    def compiled_divergence(x, t, probe):
        gradient = jax.grad(lambda x: jnp.sum(drift(x, t) * probe))(x)
        return sum_per_example(gradient * probe)

    def solve(x, probe):
        shape, size = x.shape, x.size

        def vector_field(t, state):
            position = jnp.asarray(state[:size].reshape(shape), jnp.float32)
            t = jnp.float32(t)
            rates = drift(position, t), compiled_divergence(position, t, probe)
            return np.concatenate([np.asarray(rate, np.float64).reshape(-1) for rate in rates])

        start = np.concatenate([np.asarray(x, np.float64).reshape(-1), np.zeros(shape[0])])
        solution = solve_ivp(vector_field, (sde.t_min, sde.t_max), start, method="RK45", rtol=tolerance, atol=tolerance)
        end, gained = solution.y[:size, -1].reshape(shape), solution.y[size:, -1]
        return sde.prior_log_density(jnp.asarray(end, jnp.float32)) + gained, solution.nfev

    return solve


def flow_drift(sde, score):
    """Return the compiled `(x, t) -> dx/dt` of the probability flow."""

    @jax.jit
    def drift(x, t):
        levels = jnp.full(x.shape[0], t)
        diffusion = expand(sde.diffusion(levels), x)
        return expand(sde.drift_coefficient(levels), x) * x - 0.5 * jnp.square(diffusion) * score(levels, x)

    return drift


def score_sde_samples(sde, drift, start, tolerance=TOLERANCE):
    """Return the ends of the probability flow from `start`, as score_sde solves it, and the evaluations."""

    def vector_field(t, state):
        position = jnp.asarray(state.reshape(start.shape), jnp.float32)
        return np.asarray(drift(position, jnp.float32(t)), np.float64).reshape(-1)

    begin = np.asarray(start, np.float64).reshape(-1)
    solution = solve_ivp(vector_field, (sde.t_max, sde.t_min), begin, method="RK45", rtol=tolerance, atol=tolerance)
    return solution.y[:, -1].reshape(start.shape), solution.nfev


def spent(function):
    """Call twice, the first time to compile; return the result and the seconds of the second call."""
    jax.block_until_ready(function())
    start = time.perf_counter()
    result = jax.block_until_ready(function())
    return result, time.perf_counter() - start


def compare(name, sde, score, x, scaling, data_scale) -> None:
    divergence = sgm.Hutchinson()
    probe = divergence.vectors(per_example_keys(KEY, len(x)), x)[0]
    bits = lambda log_prob: np.asarray(scaling.bits_per_dim(log_prob, x))
    theirs = score_sde_log_likelihood(sde, score, x)
    (log_prob, evaluations), seconds = spent(lambda: theirs(x, probe))
    reference = bits(log_prob)
    print(f"\n{name}, {len(x)} examples of shape {x.shape[1:]}, rtol = atol = {TOLERANCE}")
    tables.header("likelihood", "bits/dim", "largest difference", "evaluations", "seconds", "times faster")
    tables.row("score_sde: scipy RK45, its time", f"{reference.mean():.4f}", "", evaluations, f"{seconds:.2f}", "")
    for way, options in {
        "ours, angle": {"chart": sgm.Angle(data_scale)},
        "ours, angle, steps per example": {"chart": sgm.Angle(data_scale), "steps": "per_example"},
        "ours, its time": {"chart": sgm.OwnTime()},
    }.items():
        options |= {"divergence": divergence, "rtol": TOLERANCE, "atol": TOLERANCE}
        solve = functools.partial(sgm.log_likelihood, KEY, sde, score, x, **options)
        out, own_seconds = spent(solve)
        found = bits(out.log_prob)
        difference, count = np.abs(found - reference).max(), int(jnp.max(out.nfe))
        times = f"{own_seconds:.2f}", f"{seconds / own_seconds:.2f}"
        tables.row(way, f"{found.mean():.4f}", f"{difference:.4f}", count, *times)
    compare_samples(sde, score, x, data_scale)


def compare_samples(sde, score, x, data_scale) -> None:
    """Print what samples of the probability flow cost from the same starts, and how far they lie apart."""
    start = sde.prior_sample(jax.random.key(2), x.shape)
    drift = flow_drift(sde, score)
    (theirs, evaluations), seconds = spent(lambda: score_sde_samples(sde, drift, start))
    tables.header("samples of the probability flow", "largest difference", "evaluations", "seconds", "times faster")
    tables.row("score_sde: scipy RK45, its time", "", evaluations, f"{seconds:.2f}", "")
    for way, chart in {"ours, angle": sgm.Angle(data_scale), "ours, its time": sgm.OwnTime()}.items():
        options = dict(solver=diffrax.Dopri5(), rtol=TOLERANCE, atol=TOLERANCE, x_init=start, final="none")
        process = sgm.ProbabilityFlow(sde, score, chart)
        draw = functools.partial(sgm.sample, KEY, process, x.shape, **options)
        out, own_seconds = spent(draw)
        difference = np.abs(np.asarray(out.x) - theirs).max()
        times = f"{own_seconds:.2f}", f"{seconds / own_seconds:.2f}"
        tables.row(way, f"{difference:.4f}", int(jnp.max(out.nfe)), *times)


def memory(sde, score, x, data_scale) -> None:
    """Print what one compiled solve takes beyond its arguments, for several tolerances and limits on steps."""
    tables.header("tolerance", "limit on steps", "steps", "temporary MiB")
    for tolerance, limit in ((1e-2, 256), (1e-4, 256), (1e-4, 65536)):
        options = dict(rtol=tolerance, atol=tolerance, max_steps=limit, chart=sgm.Angle(data_scale))
        solve = jax.jit(lambda x, options=options: sgm.log_likelihood(KEY, sde, score, x, **options))
        compiled = solve.lower(x).compile()
        steps = int(compiled(x).nfe) // 6
        size = compiled.memory_analysis().temp_size_in_bytes
        tables.row(f"{tolerance:.0e}", limit, steps, f"{size / 2**20:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16, help="digits that the trained network is tried with")
    batch = parser.parse_args().batch

    digits = sgm.pretrained("mnist")
    raw = datasets.gather(datasets.load("mnist").test, range(batch))
    x = digits.scaling.dequantise(jax.random.key(0), jnp.asarray(raw["x"]))
    score = digits.conditional()
    compare("the shipped digits (EDM)", digits.sde, score, x, digits.scaling, 0.6)
    memory(digits.sde, score, x[:2], 0.6)

    # score_sde's own kind: a small NCSN++ (random weights) under VP, in the time that the ODE was published in.
    sde = sgm.VP()
    network = UNet(channels=16, multipliers=(1, 2), blocks=1, attention=(), dropout=0.0)
    images = jnp.asarray(datasets.gather(datasets.load("patches", size=16).test, range(8))["x"])
    x = Scaling(256).dequantise(jax.random.key(0), images)
    params = network.init(jax.random.key(0), jnp.ones(1), x[:1])
    score = sgm.as_score(sde, "edm", functools.partial(network.apply, params))
    compare("a small U-Net, random weights (VP)", sde, score, x, Scaling(256), 0.5)


if __name__ == "__main__":
    main()
