# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Your own SDE, solver and network
#
# Every part of the library is a function or a small class, and none asks where another is from. This page brings its
# own noise process, its own diffrax solver, and networks of flax nnx and of equinox, and puts them together.

# %%
import os
import pathlib

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx

import sgm_jax as sgm
from sgm_jax import data, evaluation, sampling

FIGURES = pathlib.Path(os.environ.get("FIGURES", "."))

# %% [markdown]
# ## An SDE
#
# An SDE is `alpha(t)` and `sigma(t)`: how much of the data is left at time `t`, and how much noise there is. This one
# has a log signal-to-noise ratio that falls evenly, `s = sigma / alpha = exp(5 (2 t - 1))`, at constant variance:


# %%
class EvenLogSNR(sgm.sde.AbstractSDE):
    """`alpha**2 + sigma**2 = 1`, with `log(sigma / alpha)` rising evenly from `-rate` to `rate`."""

    rate: float = 5.0
    t_min: float = 0.0
    t_max: float = 1.0

    def s(self, t):
        return jnp.exp(self.rate * (2 * jnp.asarray(t, jnp.result_type(float)) - 1))

    def t(self, s):  # optional: found by bisection where it is left out
        return 0.5 * (1 + jnp.log(s) / self.rate)

    def alpha(self, t):
        return 1 / jnp.hypot(1.0, self.s(t))

    def sigma(self, t):
        return self.s(t) / jnp.hypot(1.0, self.s(t))


sde = EvenLogSNR()

# %% [markdown]
# Drift `f(t) x` and diffusion `g(t)` follow by differentiation. Are they right? Simulate `dx = f x dt + g dw` from a
# point, step by step, and compare with `alpha` and `sigma`.

# %%
STEPS, DT = 500, 0.9 / 500


def forward(x, step):
    t, key = step
    noise = jax.random.normal(key, x.shape)
    return x + DT * sde.drift(t, x) + DT**0.5 * sde.diffusion(t) * noise, None


times = DT * (jnp.arange(STEPS) + 0.5)
x, _ = jax.lax.scan(forward, jnp.ones((20_000, 1)), (times, jax.random.split(jax.random.key(0), STEPS)))
mean, std = sde.marginal(0.9, jnp.ones((1, 1)))
print(f"mean {x.mean():.3f}, by alpha {float(mean[0, 0]):.3f}; deviation {x.std():.3f}, by sigma {float(std):.3f}")
assert abs(x.mean() - mean[0, 0]) < 0.03 and abs(x.std() - std) < 0.03

# %% [markdown]
# ## A solver
#
# The vector field of `ProbabilityFlow` is the estimate of the noise, its clock the noise level `s`, and a solver is a
# diffrax solver. Ralston's third-order method in the logarithm of `s`, say, where the levels of interest lie evenly:


# %%
class LogRalston(sampling.AbstractFlowSolver):
    """Ralston's method of third order for `dx / d log s = s noise(s, x)`."""

    evaluations_per_step = 3

    def order(self, terms):
        return 3

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        start, step = jnp.abs(t0), jnp.log(t1 / t0)

        def slope(fraction, y):
            s = start * jnp.exp(fraction * step)
            return s * terms.vf(jnp.sign(t0) * s, y, args)  # times have the sign of diffrax's direction

        first = slope(0.0, y0)
        second = slope(0.5, y0 + 0.5 * step * first)
        third = slope(0.75, y0 + 0.75 * step * second)
        y1 = y0 + step * (2 * first + 3 * second + 4 * third) / 9
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)


# %% [markdown]
# Its order, measured where the solution is known: for Gaussian data of deviation 1 the flow carries `x / alpha` along
# with `sqrt(1 + s^2)`. Twice the steps must make the error about eight times smaller.

# %%
flow = sgm.ProbabilityFlow(sde, lambda t, x: -x)  # of standard Gaussian data, whose noisy densities are standard too
noise = jax.random.normal(jax.random.key(1), (64, 2))
errors = []
with jax.enable_x64(True):
    for steps in (8, 16, 32):
        levels = np.geomspace(100.0, 0.01, steps + 1)
        x_init = sde.alpha(sde.t(levels[0])) * np.hypot(1, levels[0]) * np.asarray(noise, np.float64)
        end = sgm.sample(
            jax.random.key(2), flow, (64, 2), solver=LogRalston(), schedule=levels, x_init=x_init, final="none"
        ).x
        errors.append(float(np.abs(end - np.hypot(1, levels[-1]) * np.asarray(noise)).max()))
orders = np.log2(np.divide(errors[:-1], errors[1:]))
print("errors", [f"{error:.1e}" for error in errors], "orders", orders.round(2))
assert orders[-1] > 2.5

# %% [markdown]
# ## A network of another framework
#
# `as_score(sde, prediction, network)` takes any function `network(noise label [b], x [b, ...]) -> array`. Two things
# make it fast and trainable: it should be a pytree whose leaves are the parameters, so that nothing is compiled anew
# when they change, and it should be pure.
#
# - **flax nnx**: `nnx.split(module)` gives a graph definition and the state; the network is
#   `jax.tree_util.Partial(call, state)`, with `nnx.merge` inside `call`.
# - **equinox**: a module already is a pytree and a function; `eqx.filter_grad` differentiates in its arrays.
# - **Haiku**: `init, apply = hk.without_apply_rng(hk.transform(function))`; the network is
#   `jax.tree_util.Partial(apply, params)`, as with flax linen's `module.apply`.
#
# Both networks below have the same layers. What they predict is EDM's mixture of data and noise: the label is
# `log(s) / 4`, and inputs and target have unit variance where it is told the data's standard deviation, here 1.

# %%
WIDTH = 64
prediction, weighting, times = sgm.EDMPreconditioned(1.0), sgm.EDMWeighting(1.0), sgm.LogNormalTimes(-1.5, 1.2)


def frequencies(label):
    """Return sines and cosines [b, 8] of noise labels [b]."""
    angles = label[:, None] * jnp.pi * jnp.array([0.5, 1.0, 2.0, 4.0])
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)


class NNXNetwork(nnx.Module):
    def __init__(self, rngs):
        sizes = (10, WIDTH, WIDTH, WIDTH)
        self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in zip(sizes[:-1], sizes[1:], strict=True)])
        self.head = nnx.Linear(WIDTH, 2, rngs=rngs)

    def __call__(self, label, x):
        h = jnp.concatenate([x, frequencies(label)], axis=1)
        for layer in self.layers:
            h = nnx.silu(layer(h))
        return self.head(h)


class EquinoxNetwork(eqx.Module):
    mlp: eqx.nn.MLP

    def __init__(self, key):
        self.mlp = eqx.nn.MLP(10, 2, WIDTH, 3, jax.nn.silu, key=key)

    def __call__(self, label, x):
        return jax.vmap(self.mlp)(jnp.concatenate([x, frequencies(label)], axis=1))


graph, state = nnx.split(NNXNetwork(nnx.Rngs(0)))


def call(state, label, x):
    return nnx.merge(graph, state)(label, x)


NETWORKS = {"flax nnx": jax.tree_util.Partial(call, state), "equinox": EquinoxNetwork(jax.random.key(0))}

# %% [markdown]
# One training loop for both: the network is the pytree that is trained.

# %%
moons = data.load("two_moons")
x_train, x_test = (jnp.asarray(part.x) for part in (moons.train, moons.test))


def fit(network, steps=2500, batch=256):
    """Return the network after `steps` of Adam."""
    optimizer = optax.adam(optax.cosine_decay_schedule(6e-3, steps))
    arrays, rest = eqx.partition(network, eqx.is_inexact_array)

    def loss(arrays, key, x0):
        score = sgm.as_score(sde, prediction, eqx.combine(arrays, rest))
        return sgm.denoising_score_matching(key, sde, score, x0, weighting=weighting, times=times).mean()

    def step(carry, key):
        arrays, state = carry
        pick, noise = jax.random.split(key)
        x0 = x_train[jax.random.randint(pick, (batch,), 0, len(x_train))]
        value, gradient = jax.value_and_grad(loss)(arrays, noise, x0)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(arrays, updates), state), value

    keys = jax.random.split(jax.random.key(1), steps)
    (arrays, _), _ = jax.jit(lambda carry: jax.lax.scan(step, carry, keys))((arrays, optimizer.init(arrays)))
    return eqx.combine(arrays, rest)


# %% [markdown]
# Samples by the solver above, likelihoods under the SDE above, for either network:

# %%
settings = {"divergence": "exact", "chart": sgm.Angle(1.0), "rtol": 1e-3, "atol": 1e-3}
levels = np.append(np.geomspace(sde.s(1.0), 0.01, 15), 0.005)
figure, panels = plt.subplots(1, 3, figsize=(7.5, 2.6), dpi=75, layout="constrained")
panels[0].plot(*np.asarray(x_test).T, ".", markersize=1)
panels[0].set_title("held-out data")
within = evaluation.sliced_wasserstein(np.asarray(x_train[:2000]), np.asarray(x_test))
nats = {}
for axes, (name, network) in zip(panels[1:], NETWORKS.items(), strict=True):
    score = sgm.as_score(sde, prediction, fit(network))
    process = sgm.ProbabilityFlow(sde, score)
    drawn = sgm.sample(jax.random.key(2), process, (2000, 2), solver=LogRalston(), schedule=levels)
    apart = evaluation.sliced_wasserstein(np.asarray(drawn.x), np.asarray(x_test))
    nats[name] = float(sgm.log_likelihood(jax.random.key(3), sde, score, x_test[:500], **settings).log_prob.mean())
    print(
        f"{name}: {nats[name]:.3f} nats, distance {apart:.3f} (two sets of data: {within:.3f}), {drawn.nfe} evaluations"
    )
    assert apart < 0.1
    axes.plot(*np.asarray(drawn.x).T, ".", markersize=1)
    axes.set_title(name)
figure.savefig(FIGURES / "your_own_samples.png")
assert abs(nats["flax nnx"] - nats["equinox"]) < 0.3

# %% [markdown]
# ![samples](../images/your_own_samples.png)
#
# The contracts in full: [SDEs, predictions](../objectives.md), [solvers](../sampling.md), [networks](../networks.md),
# [those of other libraries](../interop.md).
