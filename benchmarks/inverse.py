"""What methods for inverse problems get wrong where the truth is known, and what they cost.

`python -m benchmarks.inverse gaussian`, `mixture` and `cost` print a table each; without an argument all three.

Gaussian: 6 dimensions of any covariance, 3 random combinations measured. Mixture: 8 dimensions, four modes, 2 random
combinations measured. Errors are relative to the prior; the first line is what as many exact samples would show.
"""

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

import sgm_jax as sgm
from sgm_jax import inverse, sampling
from sgm_jax.networks import UNet
from sgm_jax.shapes import expand

SDE = sgm.EDM()
SAMPLES, STEPS, ROUNDS = 20000, 200, 11


def methods(prior_std, measured):
    """Return the methods by name, with the process where it is not the default."""
    guide = inverse.PiGDM(prior_std)
    flow = dict(process=sgm.ProbabilityFlow)
    return {
        "MomentMatching (flow)": (inverse.MomentMatching(measured), flow),
        "MomentMatching": (inverse.MomentMatching(measured), {}),
        "PiGDM": (guide, {}),
        "DPS": (inverse.DPS(), {}),
        "MCG": (inverse.MCG(), {}),
        "AnnealedLangevin": (inverse.AnnealedLangevin(), {}),
        "Projection": (inverse.Projection(), {}),
        "RePaint": (inverse.RePaint(), {}),
        "DDNM": (inverse.DDNM(), {}),
        "DDNMPlus": (inverse.DDNMPlus(), {}),
        "DDRM": (inverse.DDRM(), {}),
        "DiffPIR": (inverse.DiffPIR(), {}),
        "TwistedDiffusion": (inverse.TwistedDiffusion(guide), {}),
    }


def rows(operator, score, y, prior_std, exact, report):
    """Print one line a method: its name, what `report` says of its samples, residual and evaluations."""
    floor = report(exact)
    print(f"| exact samples | {floor} | | |")
    for name, (method, options) in methods(prior_std, y.shape[1]).items():
        out = inverse.solve(
            jax.random.key(1), SDE, score, operator, y, method=method, samples=SAMPLES, steps=STEPS, **options
        )
        print(f"| {name} | {report(out.x[:, 0])} | {float(out.residual.mean()):.3f} | {int(out.nfe)} |", flush=True)


def spectral(matrix, noise_std):
    return inverse.decompose(inverse.Dense(jnp.asarray(matrix, jnp.float32), (matrix.shape[1],), noise_std))


def gaussian(noise_std):
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6)) / 6**0.5
    covariance = jnp.asarray(root @ root.T + 0.1 * np.eye(6), jnp.float32)
    mean = jnp.asarray(rng.normal(size=6), jnp.float32)
    operator = spectral(rng.normal(size=(3, 6)) / 6**0.5, noise_std)
    truth = mean + jnp.linalg.cholesky(covariance) @ rng.normal(size=6)
    y = operator.measure(jax.random.key(3), truth)
    values, axes = jnp.linalg.eigh(covariance)

    def score(t, x):
        return -((x - mean) @ axes / (values + expand(SDE.s(t), x) ** 2)) @ axes.T

    centre, spread = inverse.GaussianPosterior(mean, covariance).posterior(operator, y)
    root = jnp.linalg.svd(spread)[0] * jnp.sqrt(jnp.linalg.svd(spread)[1])
    exact = centre + jax.random.normal(jax.random.key(5), (SAMPLES, 6)) @ root.T

    def report(x):
        off = jnp.linalg.norm(jnp.mean(x, 0) - centre) / jnp.sqrt(jnp.trace(covariance))
        return f"{off:.3f} | {jnp.linalg.norm(jnp.cov(x.T) - spread) / jnp.linalg.norm(covariance):.3f}"

    print(f"\nGaussian, noise_std = {noise_std}\n\n| method | mean | covariance | residual | evaluations |")
    print("|---|---|---|---|---|")
    rows(operator, score, y[None], float(jnp.sqrt(jnp.trace(covariance) / 6)), exact, report)


def mixture(noise_std):
    rng = np.random.default_rng(1)
    size, std = 8, 0.4
    means = rng.normal(size=(4, size))
    matrix = rng.normal(size=(2, size)) / size**0.5
    operator = spectral(matrix, noise_std)
    y = matrix @ (means[0] + std * rng.normal(size=size)) + noise_std * rng.normal(size=2)
    # Each mode's posterior, and the modes' weights.
    gram = std**2 * matrix @ matrix.T + noise_std**2 * np.eye(2)
    gain = std**2 * matrix.T @ np.linalg.inv(gram)
    off = y - means @ matrix.T
    weights = np.exp(-0.5 * np.einsum("ki,ij,kj->k", off, np.linalg.inv(gram), off))
    weights /= weights.sum()
    root = np.linalg.cholesky(std**2 * (np.eye(size) - gain @ matrix) + 1e-9 * np.eye(size))

    def draw(rng):
        mode = rng.choice(4, SAMPLES, p=weights)
        return means[mode] + off[mode] @ gain.T + rng.normal(size=(SAMPLES, size)) @ root.T

    centres = jnp.asarray(means, jnp.float32)

    def score(t, x):
        variance = std**2 + expand(SDE.s(t), x) ** 2
        away = centres - x[:, None]
        share = jax.nn.softmax(-0.5 * jnp.sum(away**2, -1, keepdims=True) / variance, axis=1)
        return jnp.sum(share * away, 1) / variance

    exact, scale = draw(rng), np.sqrt(std**2 + means.var(0).mean())
    directions = rng.normal(size=(size, 200))
    directions /= np.linalg.norm(directions, axis=0)

    def report(x):
        sort = lambda x: np.sort(np.asarray(x) @ directions, axis=0)
        return f"{np.abs(sort(x) - sort(exact)).mean() / scale:.3f}"

    print(f"\nMixture, noise_std = {noise_std}, weights {np.round(weights, 2)}\n")
    print("| method | sliced Wasserstein | residual | evaluations |\n|---|---|---|---|")
    y = jnp.asarray(y, jnp.float32)[None]
    rows(operator, score, y, float(scale), draw(np.random.default_rng(7)), report)


def cost():
    """Print what a step costs beside an unconditional one: ratios of medians, taken in turns."""
    shape, batch, steps = (32, 32, 3), 2, 5
    network = UNet(channels=32, multipliers=(1, 2), blocks=1)
    x = jnp.zeros((batch, *shape))
    params = jax.jit(network.init)(jax.random.key(0), jnp.ones(batch), x)
    score = sgm.as_score(SDE, "edm", jax.tree_util.Partial(network.apply, params))
    operator = inverse.Mask(inverse.MASKS["box"](jax.random.key(0), shape), shape)
    measurement = inverse.Measurement(operator, x)
    solver = sampling.Ancestral()

    def run(method):
        fn, constraint = score, None
        if method is not None:
            fn, constraint = method.condition(SDE, score, measurement), method.constraint(SDE, measurement)
        process = sgm.ReverseSDE(SDE, fn)
        options = dict(solver=solver, steps=steps, constraint=constraint, final="none")
        return sgm.sample(jax.random.key(0), process, x.shape, **options).x

    cases = {"unconditional": None, "Projection": inverse.Projection(), "DDNM": inverse.DDNM(), "DPS": inverse.DPS()}
    cases |= {"PiGDM": inverse.PiGDM()}
    times = {name: [] for name in cases}
    for method in cases.values():
        jax.block_until_ready(run(method))
    for _ in range(ROUNDS):
        for name, method in cases.items():
            start = time.perf_counter()
            jax.block_until_ready(run(method))
            times[name].append(time.perf_counter() - start)
    plain = np.median(times["unconditional"])
    print(
        f"\nCost of a step, a U-Net of 32 channels on {batch} images of 32 x 32 ({1e3 * plain / steps:.1f} ms a step)\n"
    )
    print("| method | step / unconditional step |\n|---|---|")
    for name, taken in times.items():
        print(f"| {name} | {np.median(taken) / plain:.2f} |")


def main():
    chosen = sys.argv[1:] or ["gaussian", "mixture", "cost"]
    for name in chosen:
        if name == "cost":
            cost()
        else:
            for noise_std in (0.3, 0.0) if name == "gaussian" else (0.1,):
                {"gaussian": gaussian, "mixture": mixture}[name](noise_std)


if __name__ == "__main__":
    main()
