# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # MNIST from scratch
#
# Data, network, loss, a training step, samples, likelihoods: sixty lines, and a few to judge the samples, with no
# launcher, no config and no loop but our own. `python launch.py` does the same for longer and writes checkpoints and a
# report; nothing here needs it.
#
# Run as it stands it takes a minute or two and draws digits that are on the way. `STEPS=3600` trains as long as
# `configs/mnist.py` does.

# %%
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
from PIL import Image

import sgm_jax as sgm
from sgm_jax import data, report
from sgm_jax.networks import UNet
from sgm_jax.scaling import Scaling
from sgm_jax.training import optimizers

FIGURES = pathlib.Path(os.environ.get("FIGURES", "."))
STEPS, BATCH = int(os.environ.get("STEPS", "350")), 32

# %% [markdown]
# ## Data
#
# 5,000 real digits come with a package that is installed anyway: 4,500 to train on, 500 held out. A `Scaling` knows
# how 8-bit integers become numbers in [-1, 1], each integer a bin of its own, and later turns densities into bits.

# %%
digits = data.load("mnist")
train, test = (data.gather(part, range(len(part)))["x"] for part in (digits.train, digits.test))
scaling = Scaling(digits.levels, -1.0, 1.0)

# %% [markdown]
# ## Network, SDE, score
#
# A U-Net on 2x2 patches, that of `configs/mnist.py`. What it predicts is EDM's mixture of data and noise, whose input
# and target have unit variance at every noise level; `as_score` makes a score function of it, and from here on nothing
# asks what is inside.

# %%
sde = sgm.EDM(t_min=0.002, t_max=80.0)
network = UNet(channels=24, multipliers=(1, 2, 3), blocks=1, attention=(), dropout=0.0, patch=2, label_scale=250.0)
params = jax.jit(network.init)(jax.random.key(0), jnp.ones(1), jnp.zeros((1, *digits.shape)))["params"]


def score(params):
    """Return the score function with these parameters; one whose leaves they are, so that samplers compile once."""
    return sgm.as_score(sde, sgm.score.EDMPreconditioned(0.6), jax.tree_util.Partial(apply, params))


def apply(params, label, x):
    return network.apply({"params": params}, label, x)


# %% [markdown]
# ## Training
#
# Denoising score matching, weighted and timed as EDM does, by the optimizer Muon; an average of the parameters along
# the way is what samples are drawn with.

# %%
optimizer = optax.chain(optax.clip_by_global_norm(1.0), optimizers.muon(optimizers.cosine(0.02, 50, STEPS)))
weighting, times = sgm.EDMWeighting(0.6), sgm.LogNormalTimes(-0.8, 1.2)


def loss(params, key, raw):
    noise, dequantise = jax.random.split(key)
    x0 = scaling.dequantise(dequantise, raw)
    return (
        sgm.denoising_score_matching(noise, sde, score(params), x0, weighting=weighting, times=times).mean()
        / x0[0].size
    )


@jax.jit
def step(params, average, state, key):
    pick, key = jax.random.split(key)
    raw = jnp.asarray(train)[jax.random.randint(pick, (BATCH,), 0, len(train))]
    value, gradient = jax.value_and_grad(loss)(params, key, raw)
    updates, state = optimizer.update(gradient, state, params)
    params = optax.apply_updates(params, updates)
    return params, optax.incremental_update(params, average, 0.02), state, value


average, state, losses = params, optimizer.init(params), []
for number in range(STEPS):
    params, average, state, value = step(params, average, state, jax.random.key(number))
    losses.append(float(value))
    if number % 50 == 49:
        print(f"step {number + 1}: loss {np.mean(losses[-50:]):.4f}")
assert np.mean(losses[-50:]) < 0.5 * np.mean(losses[:50])

# %% [markdown]
# ## Samples
#
# Ten steps of DPM-Solver++ from noise to digits.

# %%
flow = sgm.ProbabilityFlow(sde, score(average))
levels = sgm.karras(sde, 10, s_min=0.05, s_max=20.0)
raw = np.asarray(scaling.to_raw(sgm.sample(jax.random.key(1), flow, (64, *digits.shape), schedule=levels).x))
report.images.save_png(FIGURES / "digits_samples.png", report.images.enlarge(report.images.grid(raw, columns=16), 900))
Image.open(FIGURES / "digits_samples.png")  # a notebook shows it

# %% [markdown]
# ![samples](../images/digits_samples.png)
#
# How near are they to digits? The distance of a sample to the nearest training digit, beside that of held-out digits
# and of held-out digits whose pixels are shuffled, all with the same ink:


# %%
def distance(images):
    """Return the mean distance of images [n, 28, 28, 1] to the nearest training digit, in units of full brightness."""
    a, b = (np.reshape(x, (len(x), -1)) / 255.0 for x in (images, train))
    squares = (a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)
    return float(np.sqrt(np.maximum(squares.min(axis=1), 0)).mean())


shuffled = np.random.default_rng(0).permuted(test.reshape(len(test), -1), axis=1)
distances = {"held-out digits": distance(test), "samples": distance(raw), "shuffled pixels": distance(shuffled)}
print("distance to the nearest training digit:", {name: round(value, 2) for name, value in distances.items()})
assert distances["samples"] < 0.5 * (distances["held-out digits"] + distances["shuffled pixels"])

# %% [markdown]
# ## Likelihoods
#
# Bits per dimension of held-out digits, by the probability flow. Without a model every pixel costs 8 bits. (The page
# on [likelihoods](../likelihood.md) says what is measured.)

# %%
x = scaling.dequantise(jax.random.key(2), jnp.asarray(test[:8]))
options = {"chart": sgm.Angle(0.6), "rtol": 1e-2, "atol": 1e-2}
likelihood = sgm.log_likelihood(jax.random.key(3), sde, score(average), x, **options)
bits = scaling.bits_per_dim(likelihood.log_prob, x)
print(f"bits per dimension: {bits.mean():.2f} ({likelihood.nfe} evaluations)")
assert bits.mean() < 6

# %% [markdown]
# Next: the model as a prior, in [an inverse problem of your own](inverse_problem.py).
