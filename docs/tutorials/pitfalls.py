# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Why scores are learned over many levels of noise
#
# Take a mixture of two Gaussians that hardly touch, four fifths of the mass in one and one fifth in the other. Plain
# score matching on it fails twice: the score is wrong wherever there are no data, and Langevin dynamics give each mode
# the mass of the chains that started near it. Noise of many scales mends both.
#
# `python docs/tutorials/pitfalls.py` runs this page, prints its numbers and draws its pictures. The example is that of
# Song and Ermon, *Generative Modeling by Estimating Gradients of the Data Distribution*, 2019, section 3.

# %%
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import sgm_jax as sgm
from sgm_jax import objectives, sampling
from sgm_jax.networks import MLP

IMAGES = pathlib.Path(__file__).parents[1] / "images"
MEANS, WEIGHTS = jnp.array([[-5.0, -5.0], [5.0, 5.0]]), jnp.array([0.2, 0.8])
sde = sgm.EDM(t_min=0.2, t_max=50.0)


def log_density(s, x):
    """Return the exact log density [b] of the data with noise of level `s` added."""
    variance = 1 + jnp.square(s)
    squares = jnp.sum(jnp.square(x[:, None] - MEANS), axis=-1)
    return jax.nn.logsumexp(jnp.log(WEIGHTS) - 0.5 * squares / variance - jnp.log(2 * jnp.pi * variance), axis=1)


def exact_score(t, x):
    """Return the exact score [b, 2]; the time of this SDE is its noise level."""
    t = jnp.broadcast_to(t, x.shape[:1])
    return jax.grad(lambda x: jnp.sum(jax.vmap(lambda t, x: log_density(t, x[None])[0])(t, x)))(x)


def draw(key, count):
    """Draw data [count, 2]."""
    which, noise = jax.random.split(key)
    mode = jax.random.bernoulli(which, WEIGHTS[1], (count,)).astype(int)
    return MEANS[mode] + jax.random.normal(noise, (count, 2))


def share(x):
    """Return the share of points [b, 2] that are nearer to the heavy mode."""
    return float(jnp.mean(x.sum(axis=1) > 0))


# %% [markdown]
# ## One network, two objectives
#
# `network(noise label, x)` is a small multilayer perceptron, fed the data at unit scale. Plain score matching never
# shows it any noise: its score is `objectives.sliced_score_matching_vr` away from that of the data. Denoising score
# matching trains the same network at all levels from 0.2 to 50.

# %%
network = MLP(width=64, layers=2)
start = network.init(jax.random.key(0), jnp.ones(1), jnp.ones((1, 2)))["params"]


def plain(params):
    """Return the score function of a network that knows one density only, the same at every `t`."""
    return lambda t, x: network.apply({"params": params}, jnp.zeros(len(x)), x / 7)


def multiscale(params):
    """Return the score function of a network that knows all the levels."""
    return sgm.as_score(
        sde, sgm.score.EDMPreconditioned(7.0), lambda label, x: network.apply({"params": params}, label, x)
    )


def fit(loss, steps=4000, batch=256):
    """Return the parameters after `steps` of Adam on fresh data."""
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, steps))

    def step(carry, key):
        params, state = carry
        data, noise = jax.random.split(key)
        gradient = jax.grad(lambda params: loss(noise, params, draw(data, batch)).mean())(params)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(params, updates), state), None

    keys = jax.random.split(jax.random.key(1), steps)
    (params, _), _ = jax.jit(lambda carry: jax.lax.scan(step, carry, keys))((start, optimizer.init(start)))
    return params


plain_params = fit(lambda key, params, x: objectives.sliced_score_matching_vr(key, lambda x: plain(params)(0.0, x), x))
multiscale_params = fit(
    lambda key, params, x: sgm.denoising_score_matching(
        key, sde, multiscale(params), x, times=objectives.LogUniformTimes()
    )
)

# %% [markdown]
# ## First pitfall: no data, no score
#
# The Fisher divergence is a mean over the data, so it does not see the space between the modes. There the learned score
# is what the network happens to say. With noise the gap is filled at the larger levels, and the multi-scale
# network is right in every place where its chains will be.


# %%
def relative_error(score_fn, s, x):
    """Return the root mean square error of a score at level `s`, in units of the score's own."""
    exact = exact_score(s, x)
    return float(jnp.sqrt(jnp.mean(jnp.square(score_fn(s, x) - exact)) / jnp.mean(jnp.square(exact))))


data = draw(jax.random.key(2), 5000)
along = jnp.linspace(-2.5, 2.5, 200)[:, None] * jnp.ones(2)  # from a long way off one mode to the other
along = along + 0.5 * jax.random.normal(jax.random.key(3), along.shape)
errors = {
    "plain, on data": relative_error(plain(plain_params), sde.t_min, data),
    "plain, between the modes": relative_error(plain(plain_params), sde.t_min, along),
    "multi-scale at s = 0.2, on data": relative_error(multiscale(multiscale_params), sde.t_min, data),
    "multi-scale at s = 5, between the modes": relative_error(multiscale(multiscale_params), 5.0, along),
}
print("relative error of the score")
for name, error in errors.items():
    print(f"{name:>40} {error:6.2f}")

grid = np.linspace(-9, 9, 17)
points = jnp.asarray(np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2), jnp.float32)
panels = (
    ("exact", exact_score, 0.2),
    ("plain score matching", plain(plain_params), 0.2),
    ("exact, noise of level 5", exact_score, 5.0),
    ("multi-scale, noise of level 5", multiscale(multiscale_params), 5.0),
)
figure = Figure((11, 3), 60, layout="constrained")
for axes, (title, score_fn, s) in zip(figure.subplots(1, 4), panels, strict=True):
    arrows = np.asarray(score_fn(s, points))
    arrows = arrows / np.maximum(np.linalg.norm(arrows, axis=1, keepdims=True), 1e-9)
    density = np.asarray(jnp.exp(log_density(s, points))).reshape(len(grid), -1)
    axes.contourf(grid, grid, np.sqrt(density), levels=12, cmap="Blues")
    axes.quiver(*points.T, *arrows.T, color="#333333", scale=25, width=0.004)
    axes.set_title(title, fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
figure.savefig(IMAGES / "pitfalls_scores.png")

# %% [markdown]
# ## Second pitfall: Langevin dynamics do not weigh the modes
#
# Even with the exact score a chain that starts near one mode stays there for a time that no one has. Started uniformly
# over the square, half of the chains end in either mode. Annealed Langevin dynamics start where the noise has
# merged the modes and sort the chains while they part; the probability flow solves the same path without any noise.

# %%
CHAINS = 2000
square = jax.random.uniform(jax.random.key(4), (CHAINS, 2), minval=-8, maxval=8)


def langevin(score_fn):
    """Run Langevin chains from the square at the level of the data."""
    return sampling.overdamped_langevin(
        jax.random.key(5), lambda x: score_fn(sde.t_min, x), square, step_size=0.1, steps=1000
    )


def annealed(score_fn):
    """Run annealed Langevin chains through 40 levels."""
    solver = sampling.PredictorCorrector(sampling.Hold(), sampling.Langevin(snr=0.3, steps=10))
    levels = sampling.langevin_levels(sde, 40)
    process = sgm.ReverseSDE(sde, score_fn)
    return sgm.sample(jax.random.key(6), process, (CHAINS, 2), solver=solver, schedule=levels, final="none").x


samples = {
    "Langevin, exact score": langevin(exact_score),
    "Langevin, plain score matching": langevin(plain(plain_params)),
    "annealed Langevin, exact scores": annealed(exact_score),
    "annealed Langevin, multi-scale": annealed(multiscale(multiscale_params)),
    "probability flow, multi-scale": sgm.sample(
        jax.random.key(7), sgm.ProbabilityFlow(sde, multiscale(multiscale_params)), (CHAINS, 2), rtol=1e-4, atol=1e-4
    ).x,
}
print(f"\nshare of samples in the heavy mode (data: {WEIGHTS[1]:.2f}, standard error {0.4 / CHAINS**0.5:.2f})")
for name, x in samples.items():
    print(f"{name:>40} {share(x):6.2f}")

figure = Figure((11, 2.6), 60, layout="constrained")
shown = {"data": data[:CHAINS]} | samples
for axes, (title, x) in zip(figure.subplots(1, len(shown)), shown.items(), strict=True):
    axes.plot(*np.asarray(x).T, ".", markersize=1, color="#3b5bdb")
    axes.set_title(f"{title.replace(', ', chr(10))}\n{share(x):.2f}", fontsize=8)
    axes.set_xlim(-9, 9)
    axes.set_ylim(-9, 9)
    axes.set_xticks([])
    axes.set_yticks([])
figure.savefig(IMAGES / "pitfalls_samples.png")

# %% [markdown]
# ## What the multi-scale model knows
#
# Its probability flow gives exact likelihoods. Their mean over held-out data, beside the truth's:

# %%
held_out = draw(jax.random.key(8), 1000) + sde.t_min * jax.random.normal(jax.random.key(9), (1000, 2))
model = sgm.log_likelihood(
    jax.random.key(10),
    sde,
    multiscale(multiscale_params),
    held_out,
    divergence="exact",
    chart=sampling.Angle(5.0),
    rtol=1e-4,
    atol=1e-4,
)
truth = log_density(sde.t_min, held_out)
gap = np.asarray(truth - model.log_prob)
print(
    f"\nlog-likelihood {model.log_prob.mean():.3f} nats, of the truth {truth.mean():.3f}, difference {gap.mean():.3f}"
)
