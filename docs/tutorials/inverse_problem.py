# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # An inverse problem of your own
#
# A score model knows what digits look like, and nothing of any measurement. Whatever was measured of a digit, by an
# instrument that the model never heard of, the two together give the digits that explain it. The instrument here sums
# the ink of each row and of each column: 56 numbers in place of 784. It is not in the library.

# %%
import os
import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

import sgm_jax as sgm
from sgm_jax import data, evaluation, inverse, report

FIGURES = pathlib.Path(os.environ.get("FIGURES", "."))

# %% [markdown]
# ## The operator
#
# One example in, one measurement out, in plain JAX. A linear operator needs no more than `forward`: the adjoint is
# found by transposition, pseudo-inverse and projections by conjugate gradients. `check_adjoint` compares inner
# products.


# %%
class RowsAndColumns(inverse.AbstractLinear):
    """The mean of every row and of every column."""

    shape: tuple[int, ...] = eqx.field(static=True)
    noise_std: float = 0.0

    def forward(self, x):
        return jnp.concatenate([x.mean(axis=1).ravel(), x.mean(axis=0).ravel()])


digits = sgm.pretrained("mnist")  # a trained model that comes with the library
operator = RowsAndColumns(digits.shape, noise_std=0.01)
inverse.check_adjoint(jax.random.key(0), operator)
print("a measurement:", operator.measured)

# %% [markdown]
# ## First where the answer is known
#
# For Gaussian data the posterior has a closed form. An operator that is wrong, or a noise level in the wrong units,
# shows here in seconds, before any network is involved. `PiGDM` is exact for Gaussian data of one variance in all
# directions.

# %%
sde = sgm.VP()
small = RowsAndColumns((4, 4, 1), noise_std=0.1)
x0 = jax.random.normal(jax.random.key(1), (4, 4, 1))
y = small.measure(jax.random.key(2), x0)[None]
gaussian = inverse.GaussianPosterior(jnp.zeros((4, 4, 1)), jnp.eye(16))
mean, covariance = gaussian.posterior(small, y[0])
out = inverse.solve(jax.random.key(3), sde, lambda t, x: -x, small, y, method=inverse.PiGDM(), samples=4000, steps=100)
error = float(jnp.linalg.norm(out.mean[0] - mean) / jnp.linalg.norm(mean))
spread = float(out.std.mean() / jnp.sqrt(jnp.diag(covariance)).mean())
print(f"mean off by {error:.1%}, deviation {spread:.3f} times the true one")
assert error < 0.15 and abs(spread - 1) < 0.1

# %% [markdown]
# ## Then digits
#
# Three held-out digits are measured. The pseudo-inverse, the smallest image that explains the sums, is what can be
# said without a prior. With one, `solve` draws eight answers for each measurement.

# %%
truth = digits.scaling.to_model(data.gather(data.load("mnist").test, [0, 3, 5])["x"])
y = jax.vmap(operator.measure)(jax.random.split(jax.random.key(4), len(truth)), truth)
smallest = jax.vmap(operator.pseudo_inverse)(y)
DRAWS = 8
out = inverse.solve(
    jax.random.key(5),
    digits.sde,
    digits.score_fn,
    operator,
    y,
    method=inverse.PiGDM(prior_std=0.6),
    samples=DRAWS,
    schedule=sgm.karras(digits.sde, 40, s_min=0.02, s_max=20.0),
)


def decibels(images):
    """Return the mean peak signal-to-noise ratio of images [b, 28, 28, 1] in [-1, 1]."""
    return float(jnp.mean(jax.vmap(lambda a, b: evaluation.psnr(a, b, data_range=2.0))(truth, images)))


print(f"pseudo-inverse {decibels(smallest):.1f} dB, mean of the draws {decibels(out.mean):.1f} dB")
residual, noise = float(out.residual.mean()), float(0.01 * 56**0.5 / jnp.linalg.norm(y, axis=1).mean())
print(f"the draws miss the measurement by {residual:.1%}; its noise is {noise:.1%}")

# %% [markdown]
# The draws differ where the sums leave the digit open: their deviation is the answer's uncertainty.
# `evaluation.coverage` says how often the truth lies within the draws' spread.

# %%
inside = float(jnp.mean(jnp.abs(truth - out.mean) <= 2 * out.std + 0.05))
print(f"{inside:.0%} of the pixels lie within two deviations of the mean")
rows = jnp.concatenate([truth[None], smallest[None], out.mean[None], out.std[None] - 1, out.x[:5]])
sheet = report.images.grid(
    np.asarray(digits.scaling.to_raw(jnp.swapaxes(rows, 0, 1).reshape(-1, 28, 28, 1))), columns=9
)
report.images.save_png(FIGURES / "inverse_problem_draws.png", report.images.enlarge(sheet, 900))
assert decibels(out.mean) > decibels(smallest) + 0.5 and residual < 0.1
Image.open(FIGURES / "inverse_problem_draws.png")  # a notebook shows it

# %% [markdown]
# ![the digits, pseudo-inverse, mean, deviation, five draws](../images/inverse_problem_draws.png)
#
# From left to right: the digit, the pseudo-inverse, the mean of the draws, their deviation, five draws.
#
# ## A measurement that is not linear
#
# A detector that saturates: the same sums through a `tanh`. Any differentiable function serves with a method that asks
# for no more, such as `DPS`.

# %%
saturating = inverse.NonLinear(lambda x: jnp.tanh(3 * (1 + operator.forward(x))), digits.shape, noise_std=0.01)
y = jax.vmap(saturating.measure)(jax.random.split(jax.random.key(6), len(truth)), truth)
nonlinear = inverse.solve(
    jax.random.key(7),
    digits.sde,
    digits.score_fn,
    saturating,
    y,
    method=inverse.DPS(),
    samples=DRAWS,
    schedule=sgm.karras(digits.sde, 40, s_min=0.02, s_max=20.0),
)
residual = float(nonlinear.residual.mean())
print(f"saturating detector: mean of the draws {decibels(nonlinear.mean):.1f} dB, residual {residual:.1%}")
assert residual < 0.2

# %% [markdown]
# ## A method of your own
#
# A method, too, is a few lines: this one pulls the denoised estimate towards the measurement, with no derivative of
# the network. Such refinement costs no more than unconditional sampling.


# %%
class Pull(inverse.AbstractRefined):
    """Replace what the measurement sees of the denoised estimate by what was measured."""

    def refine(self, operator, y, s, denoised):
        return denoised + operator.pseudo_inverse(y - operator.forward(denoised))


y = jax.vmap(operator.measure)(jax.random.split(jax.random.key(4), len(truth)), truth)
pulled = inverse.solve(
    jax.random.key(8),
    digits.sde,
    digits.score_fn,
    operator,
    y,
    method=Pull(),
    samples=DRAWS,
    schedule=sgm.karras(digits.sde, 40, s_min=0.02, s_max=20.0),
)
print(f"own method: mean of the draws {decibels(pulled.mean):.1f} dB, residual {pulled.residual.mean():.1%}")
assert decibels(pulled.mean) > decibels(smallest) and pulled.residual.mean() < 0.05

# %% [markdown]
# Which of the library's methods suits which problem: [inverse problems](../inverse.md). What operators offer:
# [measurements](../operators.md).
