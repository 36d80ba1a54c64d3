"""Draw the pictures of docs/sampling.md: `python docs/pictures.py`.

Trajectories from noise to data of a one-dimensional mixture whose score is exact, over the density they follow.
"""

import pathlib

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import sgm_jax as sgm
from sgm_jax import sampling

IMAGES = pathlib.Path(__file__).parent / "images"
MEANS, WEIGHTS, STD = jnp.array([-1.0, 0.2, 1.1]), jnp.array([0.3, 0.2, 0.5]), 0.1
COLORS = ("#3b5bdb", "#d9730d", "#2b8a3e", "#862e9c", "#c92a2a", "#0b7285", "#5c940d", "#343a40")
LOWEST, HIGHEST, CHAINS = 0.03, 8.0, 8

sde = sgm.EDM()


def log_density(s, x):
    """Return the log density of the mixture with noise of level `s` added, at `x` [...]."""
    variance = STD**2 + s**2
    terms = jnp.log(WEIGHTS) - 0.5 * (x[..., None] - MEANS) ** 2 / variance - 0.5 * jnp.log(2 * jnp.pi * variance)
    return jax.nn.logsumexp(terms, axis=-1)


def score(t, x):
    """Return the exact score [b, 1]."""
    s = jnp.broadcast_to(sde.s(t), x.shape[:1])
    return jax.vmap(jax.grad(log_density, argnums=1))(s, x[:, 0])[:, None]


def unit(s):
    """Return what divides states at level `s` so that all are of unit scale."""
    return np.hypot(1.0, np.asarray(s))


def panel(axes, title, process, solver, steps):
    """Draw the paths of a few samples over the density at every noise level."""
    levels = np.geomspace(LOWEST, HIGHEST, 200)
    scaled = np.linspace(-2.2, 2.2, 300)
    grid = jax.vmap(lambda s: jnp.exp(log_density(s, jnp.asarray(scaled) * jnp.hypot(1.0, s))))(jnp.asarray(levels))
    density = np.asarray(grid) * unit(levels)[:, None]
    axes.pcolormesh(np.log10(levels), scaled, np.sqrt(density.T), cmap="Greys", vmax=2.0, rasterized=True)
    schedule = np.geomspace(HIGHEST, LOWEST, steps + 1)
    path = sgm.sample(
        jax.random.key(4), process, (CHAINS, 1), solver=solver, schedule=schedule, final="none", save=steps + 1
    ).trajectory
    for chain, color in zip(range(CHAINS), COLORS, strict=True):
        axes.plot(np.log10(path.s), path.xt[:, chain, 0] / unit(path.s), color=color, linewidth=1.1, marker=".", ms=3)
    axes.set_title(title, fontsize=9)
    axes.set_xlim(np.log10(HIGHEST), np.log10(LOWEST))
    axes.set_ylim(-2.2, 2.2)
    axes.set_xlabel("noise level")
    axes.set_xticks([0, -1], ["1", "0.1"])


def trajectories():
    """Draw the flow in few steps, the reverse SDE in many and in few, and predictor-corrector."""
    flow, reverse = sgm.ProbabilityFlow(sde, score), sgm.ReverseSDE(sde, score)
    panels = (
        ("probability flow, DPM-Solver++(2M), 15 steps", flow, sgm.DPMSolverPP(), 15),
        ("reverse SDE, Euler-Maruyama, 300 steps", reverse, diffrax.Euler(), 300),
        ("reverse SDE, SDE-DPM-Solver++, 15 steps", reverse, sampling.SDEDPMSolverPP(), 15),
        ("flow and Langevin corrections, 60 steps", flow, sgm.PredictorCorrector(diffrax.Euler()), 60),
    )
    figure = Figure((9.6, 5.6), 75, layout="constrained")
    for axes, (title, process, solver, steps) in zip(figure.subplots(2, 2, sharey=True).flat, panels, strict=True):
        panel(axes, title, process, solver, steps)
    figure.savefig(IMAGES / "trajectories.png")


if __name__ == "__main__":
    trajectories()
