"""Data whose scores, samples and likelihoods are known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np

import sgm_jax as sgm
from sgm_jax.score import as_prediction
from sgm_jax.shapes import expand

SDES = {
    "vp": sgm.VP(),
    "ve": sgm.VE(),
    "subvp": sgm.SubVP(),
    "cosine": sgm.Cosine(),
    "cosine0": sgm.Cosine(offset=0.0),
    "edm": sgm.EDM(),
    "rectified_flow": sgm.RectifiedFlow(),
    "linear": sgm.LinearSDE(lambda t: jnp.cos(1.56 * t), lambda t: jnp.sin(1.56 * t), t_min=1e-4),
}


class Gaussian:
    """Gaussian data with a diagonal covariance, `N(mean, std**2)`."""

    def __init__(self, mean=(0.5, -1.0, 2.0), std=(0.3, 1.0, 0.7)):
        self.mean, self.std = jnp.array(mean), jnp.array(std)

    def sample(self, key, count):
        return self.mean + self.std * jax.random.normal(key, (count, self.mean.size))

    def denoised(self, sde, t, x):
        """Return the exact posterior mean of the clean data."""
        alpha, sigma = expand(sde.alpha(t), x), expand(sde.sigma(t), x)
        gain = alpha * self.std**2 / (alpha**2 * self.std**2 + sigma**2)
        return self.mean + gain * (x - alpha * self.mean)

    def score_fn(self, sde):
        def score(t, x):
            alpha, sigma = expand(sde.alpha(t), x), expand(sde.sigma(t), x)
            return -(x - alpha * self.mean) / (alpha**2 * self.std**2 + sigma**2)

        return score

    def network(self, sde, prediction):
        """Return the perfect network of a prediction, as a function of what the network is fed."""
        kind = as_prediction(prediction)

        def output(t, x):
            denoised = self.denoised(sde, t, x)
            noise = (x - expand(sde.alpha(t), x) * denoised) / expand(sde.sigma(t), x)
            return kind.join(sde, t, denoised, noise)

        if prediction != "edm":
            return output

        def preconditioned(label, scaled):
            s = jnp.exp(4 * label)
            t = sde.t(s)
            return output(t, scaled * expand(sde.alpha(t) * jnp.hypot(s, kind.sigma_data), scaled))

        return preconditioned

    def flow_log_density(self, sde, x):
        """Return the log density that the exact probability flow from the published prior gives to `x`, in nats.

        Each coordinate of the flow is the affine map `mean + (x - mean) std(s1) / std(s0)` with
        `std(s)**2 = std**2 + s**2`, so what enters is the prior's density at its end and one factor.
        """
        low, high = sde.s(sde.t_min), sde.s(sde.t_max)
        stretch = jnp.sqrt((self.std**2 + high**2) / (self.std**2 + low**2))
        end = self.mean + (x - self.mean) * stretch
        spread = sde.prior_std / sde.alpha(sde.t_max)
        return jnp.sum(-0.5 * (end / spread) ** 2 - jnp.log(spread) - 0.5 * jnp.log(2 * jnp.pi) + jnp.log(stretch), 1)


class Mixture:
    """A mixture of isotropic Gaussians with equal weights."""

    def __init__(self, means, std):
        self.means, self.std = jnp.asarray(means, jnp.result_type(float)), std

    def score_fn(self, sde):
        def score(t, x):
            alpha, sigma = expand(sde.alpha(t), x), expand(sde.sigma(t), x)
            variance = (alpha * self.std) ** 2 + sigma**2
            difference = jnp.expand_dims(alpha, -1) * self.means - x[:, None]
            variance = jnp.expand_dims(variance, -1)
            weights = jax.nn.softmax(-0.5 * jnp.sum(difference**2 / variance, -1, keepdims=True), axis=1)
            return jnp.sum(weights * difference / variance, 1)

        return score

    def log_density(self, x, s=0.0):
        variance = self.std**2 + s**2
        squares = jnp.sum((x[:, None] - self.means) ** 2, -1)
        size = x.shape[1]
        return (
            jax.nn.logsumexp(-0.5 * squares / variance, axis=1)
            - jnp.log(len(self.means))
            - 0.5 * size * jnp.log(2 * np.pi * variance)
        )
