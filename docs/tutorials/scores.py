# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Scores, from the first idea to exact likelihoods
#
# All of score-based generative modelling on one example that can be drawn: two Gaussians in the plane that hardly
# touch, a fifth of the mass in one and four fifths in the other. Everything about them is known exactly, so that each
# claim below is checked as the page runs. The example is that of Song and Ermon, *Generative Modeling by Estimating
# Gradients of the Data Distribution*, 2019, section 3; the order is that of Yang Song's post of the same name, which
# can be read beside it.
#
# `python docs/tutorials/scores.py` runs this page in a minute and leaves its pictures in the folder that the
# environment variable `FIGURES` names, or else where it is run.

# %%
import os
import pathlib

import diffrax
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import sgm_jax as sgm
from sgm_jax import energy, guidance, inverse, objectives, sampling
from sgm_jax.networks import MLP

FIGURES = pathlib.Path(os.environ.get("FIGURES", "."))
MEANS, WEIGHTS = jnp.array([[-5.0, -5.0], [5.0, 5.0]]), jnp.array([0.2, 0.8])
sde = sgm.EDM(t_min=0.2, t_max=50.0)  # its time is the noise level


def log_density(s, x):
    """Return the exact log density [b] of the data with noise of level `s` added."""
    variance = 1 + jnp.square(s)
    squares = jnp.sum(jnp.square(x[:, None] - MEANS), axis=-1)
    return jax.nn.logsumexp(jnp.log(WEIGHTS) - 0.5 * squares / variance - jnp.log(2 * jnp.pi * variance), axis=1)


def exact_score(t, x):
    """Return the exact score [b, 2]."""
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


data = draw(jax.random.key(2), 5000)

# %% [markdown]
# ## A score needs no normalising constant
#
# A density made of a network, `p(x) = exp(-energy(x)) / Z`, has a constant `Z` that no one can compute. The *score*,
# the gradient of `log p` in `x`, does not know it: `grad log p = -grad energy`. Shift the energy by anything, and the
# score stays what it was.

# %%
shifted = energy.energy_score(lambda t, x: 123.0 - log_density(t, x))
assert jnp.allclose(shifted(0.0, data), exact_score(0.0, data), atol=1e-4)

# %% [markdown]
# ## A score can be learned without knowing it
#
# The obvious loss, `explicit_score_matching`, is the mean squared distance to the true score (the *Fisher divergence*)
# and needs what we are after. Integrated by parts it becomes `1/2 |score|^2 + divergence of the score`, a mean over
# data alone: `implicit_score_matching` (Hyvärinen, 2005). The two differ by a constant that the model has no part in,
# and so have the same minimum. Watch it over models that are the true score times a number:

# %%
print("model            explicit  implicit  difference")
differences = []
for factor in (0.0, 0.5, 1.0, 1.5):
    model = lambda x, factor=factor: factor * exact_score(0.0, x)
    explicit = objectives.explicit_score_matching(model, lambda x: exact_score(0.0, x), data).mean()
    implicit = objectives.implicit_score_matching(model, data).mean()
    differences.append(float(explicit - implicit))
    print(f"{factor:.1f} x the score   {explicit:6.2f}    {implicit:6.2f}     {differences[-1]:6.2f}")
assert np.ptp(differences) < 0.1

# %% [markdown]
# In many dimensions the divergence costs as many passes as there are dimensions. *Sliced* score matching takes it
# along random directions; *denoising* score matching avoids it: add noise `n` of level `s`, and ask the network for
# `-n / s`. Its best answer is the score of the noisy data.
#
# ## One network, two objectives
#
# `network(noise label, x)` is a small multilayer perceptron, fed the data at unit scale. Plain (sliced) score matching
# never shows it any noise. Denoising score matching trains the same network at all levels from 0.2 to 50, which it is
# told.

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


def fit(loss, steps=3000, batch=256):
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
# The Fisher divergence is a mean over the data, so it does not see the space between the modes. There the learned
# score is what the network happens to say. With noise the gap is filled at the larger levels, and the multi-scale
# network is right in every place where its chains will be.


# %%
def relative_error(score_fn, s, x):
    """Return the root mean square error of a score at level `s`, in units of the score's own."""
    exact = exact_score(s, x)
    return float(jnp.sqrt(jnp.mean(jnp.square(score_fn(s, x) - exact)) / jnp.mean(jnp.square(exact))))


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
assert errors["plain, on data"] < 0.1 and errors["plain, between the modes"] > 0.4
assert errors["multi-scale at s = 5, between the modes"] < 0.2

grid = np.linspace(-9, 9, 17)
points = jnp.asarray(np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2), jnp.float32)
panels = (
    ("exact", exact_score, 0.2),
    ("plain score matching", plain(plain_params), 0.2),
    ("exact, noise of level 5", exact_score, 5.0),
    ("multi-scale, noise of level 5", multiscale(multiscale_params), 5.0),
)
figure, row = plt.subplots(1, 4, figsize=(11, 3), dpi=60, layout="constrained")
for axes, (title, score_fn, s) in zip(row, panels, strict=True):
    arrows = np.asarray(score_fn(s, points))
    arrows = arrows / np.maximum(np.linalg.norm(arrows, axis=1, keepdims=True), 1e-9)
    density = np.asarray(jnp.exp(log_density(s, points))).reshape(len(grid), -1)
    axes.contourf(grid, grid, np.sqrt(density), levels=12, cmap="Blues")
    axes.quiver(*points.T, *arrows.T, color="#333333", scale=25, width=0.004)
    axes.set(title=title, xticks=[], yticks=[])
figure.savefig(FIGURES / "scores_fields.png")

# %% [markdown]
# ![score fields](../images/scores_fields.png)
#
# ## Second pitfall: Langevin dynamics do not weigh the modes
#
# *Langevin dynamics* walk up the score and add noise, `x + h score(x) + sqrt(2 h) noise`; run for ever, they draw from
# the density. But even with the exact score a chain that starts near one mode stays there for a time that no one has.
# Started uniformly over the square, half of the chains end in either mode.
#
# ## Many noise levels
#
# *Annealed* Langevin dynamics start where the noise has merged the modes, and lower its level bit by bit: the chains
# are sorted while the modes part.

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
}

# %% [markdown]
# ## Infinitely many levels: stochastic differential equations
#
# With ever more levels the noise that is added becomes a *process* in continuous time, `dx = f x dt + g dw`. Here an
# SDE is the pair `alpha(t)`, `sigma(t)` of `x_t = alpha x_0 + sigma n`, and the drift and diffusion follow from it.
# Run backward, the process is another SDE in which the score is the only unknown (Anderson, 1982), and any solver of
# differential equations draws samples from it.

# %%
model = multiscale(multiscale_params)
reverse = sgm.ReverseSDE(sde, model)
samples["reverse SDE, multi-scale"] = sgm.sample(jax.random.key(7), reverse, (CHAINS, 2), steps=200).x

# %% [markdown]
# The score corrects as well: a *predictor-corrector* sampler has Langevin steps at the noise level that the solver, the
# predictor, has come to. Half of the steps, each of two evaluations:

# %%
corrected = sampling.PredictorCorrector(diffrax.Euler(), sampling.Langevin(snr=0.16))
samples["predictor-corrector, multi-scale"] = sgm.sample(
    jax.random.key(12), reverse, (CHAINS, 2), solver=corrected, steps=100
).x

# %% [markdown]
# ## Without noise: the probability flow
#
# An ordinary differential equation has, at each time, the same density as the SDE. It maps every data point to one
# code of Gaussian noise and back, and adaptive solvers take far fewer steps.

# %%
flow = sgm.ProbabilityFlow(sde, model)
drawn = sgm.sample(jax.random.key(8), flow, (CHAINS, 2), rtol=1e-4, atol=1e-4)
samples["probability flow, multi-scale"] = drawn.x
print(f"\nprobability flow: {drawn.nfe} evaluations, reverse SDE: 201")

print(f"\nshare of samples in the heavy mode (data: {WEIGHTS[1]:.2f}, standard error {0.4 / CHAINS**0.5:.2f})")
for name, x in samples.items():
    print(f"{name:>40} {share(x):6.2f}")
assert abs(share(samples["Langevin, exact score"]) - 0.5) < 0.05
for name in list(samples)[3:]:
    assert abs(share(samples[name]) - 0.8) < 0.05, name

settings = {"chart": sampling.Angle(5.0), "rtol": 1e-4, "atol": 1e-4}
codes = sgm.encode(sde, model, data[:200], **settings)
back = sgm.decode(sde, model, codes, **settings)
off = float(jnp.mean(jnp.abs(back - data[:200])))
print(f"there and back: off by {off:.1e} in the mean, codes of deviation {codes.std():.2f}")
assert off < 0.01 and abs(codes.std() - 1) < 0.1

figure, rows = plt.subplots(2, 5, figsize=(12, 4), dpi=60, layout="constrained")
rows[-1, -1].axis("off")
shown = {"data": data[:CHAINS]} | samples | {"codes of 200 data": 3 * codes}
for axes, (title, x) in zip(rows.flat, shown.items(), strict=False):
    axes.plot(*np.asarray(x).T, ".", markersize=1, color="#3b5bdb")
    axes.set_title(title if "codes" in title else f"{title}: {share(x):.2f}", fontsize=8)
    axes.set(xlim=(-9, 9), ylim=(-9, 9), xticks=[], yticks=[])
figure.savefig(FIGURES / "scores_samples.png")

# %% [markdown]
# ![samples](../images/scores_samples.png)
#
# The figures are the shares of points in the heavy mode.
#
# ## Exact likelihoods
#
# Along the flow the log density changes by minus the divergence of its velocity, so that one more number to integrate
# gives the exact `log p` of any point under the model: what energies could not give without `Z`. Its mean over
# held-out data, beside the truth's:

# %%
held_out = draw(jax.random.key(9), 1000) + sde.t_min * jax.random.normal(jax.random.key(10), (1000, 2))
likelihood = sgm.log_likelihood(jax.random.key(11), sde, model, held_out, divergence="exact", **settings)
truth = log_density(sde.t_min, held_out)
gap = float(jnp.mean(truth - likelihood.log_prob))
print(f"\nlog-likelihood {likelihood.log_prob.mean():.3f} nats, of the truth {truth.mean():.3f}, difference {gap:.3f}")
assert abs(gap) < 0.05

# %% [markdown]
# ## Controllable generation
#
# By Bayes' rule `grad log p(x given y) = grad log p(x) + grad log p(y given x)`: a model of `x` alone, trained once,
# serves for any `y` whose likelihood can be told at every noise level. Where `y` is a *class* that is a classifier of
# noisy data. Here the classes are the two modes and their classifier is exact; on images it is a network of its own.


# %%
def mode_logits(t, x):
    """Return what the log probabilities [b, 2] of the two modes are at time `t`, up to a constant."""
    variance = 1 + jnp.square(jnp.broadcast_to(t, x.shape[:1]))[:, None]
    return jnp.log(WEIGHTS) - 0.5 * jnp.sum(jnp.square(x[:, None] - MEANS), axis=-1) / variance


of_class = sgm.ReverseSDE(sde, guidance.classifier(model, mode_logits, 0))  # 0: the light mode
controlled = {"class: the light mode": sgm.sample(jax.random.key(13), of_class, (500, 2), steps=200).x}

# %% [markdown]
# *Inpainting* knows some coordinates of `x`, *colourisation* a mean over them (the grey value of a pixel's colours);
# both are measurements `y = A x`. The post's method sets what is known, with noise of the right level, after every
# step of the sampler: `inverse.replacement()`. Any other of [the methods](../inverse.md) takes its place.

# %%
operators = {
    "inpainting: the first is 4": inverse.Linear(lambda x: x[:1], (2,)),
    "colourisation: the mean is 4": inverse.Linear(lambda x: x.mean(keepdims=True), (2,)),
}
for name, operator in operators.items():
    y = jnp.full((1, 1), 4.0)
    method, noise = inverse.replacement(), jax.random.key(14)
    out = inverse.solve(noise, sde, model, operator, y, method=method, samples=500, steps=200)
    controlled[name] = out.x[:, 0]

# %% [markdown]
# What must come out is known: the light mode; a second coordinate of mean 5 and deviation 1; a difference of the two
# coordinates of mean 0 and deviation `sqrt(2)`.

# %%
light, filled, coloured = controlled.values()
difference = coloured[:, 1] - coloured[:, 0]
print(f"\nclass: {share(light):.3f} of the samples in the heavy mode")
print(f"inpainting: second coordinate {filled[:, 1].mean():.2f}, deviation {filled[:, 1].std():.2f}")
print(f"colourisation: difference {difference.mean():.2f}, deviation {difference.std():.2f}")
assert share(light) < 0.01
assert abs(filled[:, 1].mean() - 5) < 0.3 and abs(filled[:, 1].std() - 1) < 0.2
assert abs(difference.mean()) < 0.3 and abs(difference.std() - 2**0.5) < 0.3

figure, row = plt.subplots(1, 3, figsize=(8, 2.7), dpi=60, layout="constrained")
for axes, (title, x) in zip(row, controlled.items(), strict=True):
    axes.plot(*np.asarray(data[:500]).T, ".", markersize=1, color="#ced4da")
    axes.plot(*np.asarray(x).T, ".", markersize=1, color="#3b5bdb")
    axes.set(title=title, xlim=(-9, 9), ylim=(-9, 9), xticks=[], yticks=[])
figure.savefig(FIGURES / "scores_controlled.png")

# %% [markdown]
# ![controlled samples](../images/scores_controlled.png)
#
# The same on images is the [next page](digits.py). What this page used: [objectives](../objectives.md),
# [sampling](../sampling.md), [likelihoods](../likelihood.md), [inverse problems](../inverse.md). Where each section of
# the post is in code: [five ways in](../walks.md#reading-the-blog-post).
