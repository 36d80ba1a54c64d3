"""What a network predicts, and how a score function is made of it.

Every prediction used in the field is a linear combination `a(t) x0 + b(t) noise` of the clean data and the noise
in `x_t = alpha x0 + sigma noise`. One table of the coefficients `(a, b)` therefore gives every conversion.
"""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sgm_jax.labels import NearestLevel
from sgm_jax.naming import choose
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, Level, ScoreFn, check_like, expand


class AbstractPrediction(eqx.Module):
    """What the network's output stands for."""

    @abc.abstractmethod
    def coefficients(self, sde: AbstractSDE, t: Level) -> tuple[Array, Array]:
        """Return `(a, b)` such that the network estimates `a x0 + b noise`, each of the shape of `t`."""

    def inputs(self, sde: AbstractSDE, t: Level, x: Batch) -> tuple[Array, Batch]:
        """Return the noise label and the array that the network is fed at `(t, x)`."""
        return jnp.asarray(t), x

    def split(self, sde: AbstractSDE, t: Level, x: Batch, output: Batch) -> tuple[Batch, Batch]:
        """Return the estimates of `x0` and of the noise that `output` at `(t, x)` stands for, both [b, ...]."""
        a, b = self.coefficients(sde, t)
        alpha, sigma = sde.alpha(t), sde.sigma(t)
        determinant = alpha * b - sigma * a
        x0 = expand(b / determinant, x) * x - expand(sigma / determinant, x) * output
        noise = expand(alpha / determinant, x) * output - expand(a / determinant, x) * x
        return x0, noise

    def join(self, sde: AbstractSDE, t: Level, x0: Batch, noise: Batch) -> Batch:
        """Return the output `a x0 + b noise` that a perfect network would give: the training target."""
        a, b = self.coefficients(sde, t)
        return expand(a, x0) * x0 + expand(b, x0) * noise


class Score(AbstractPrediction):
    """The score of the perturbed data, `-noise / sigma`."""

    def coefficients(self, sde: AbstractSDE, t: Level) -> tuple[Array, Array]:
        sigma = sde.sigma(t)
        return jnp.zeros_like(sigma), -1 / sigma


class ScaledScore(AbstractPrediction):
    """The score in units of its size, `sigma score = -noise`."""

    def coefficients(self, sde: AbstractSDE, t: Level) -> tuple[Array, Array]:
        one = jnp.ones_like(sde.sigma(t))
        return jnp.zeros_like(one), -one


class Noise(AbstractPrediction):
    """The noise (epsilon)."""

    def coefficients(self, sde: AbstractSDE, t: Level) -> tuple[Array, Array]:
        one = jnp.ones_like(sde.sigma(t))
        return jnp.zeros_like(one), one


class Denoised(AbstractPrediction):
    """The clean data."""

    def coefficients(self, sde: AbstractSDE, t: Level) -> tuple[Array, Array]:
        one = jnp.ones_like(sde.sigma(t))
        return one, jnp.zeros_like(one)


class Velocity(AbstractPrediction):
    """v-prediction, `alpha noise - sigma x0`.

    References:
        Salimans and Ho, Progressive Distillation for Fast Sampling of Diffusion Models, 2022, section 4.
    """

    def coefficients(self, sde: AbstractSDE, t: Level) -> tuple[Array, Array]:
        return -sde.sigma(t), sde.alpha(t)


class Flow(AbstractPrediction):
    """The conditional flow `d x_t / dt = alpha' x0 + sigma' noise` (`noise - x0` for `RectifiedFlow`).

    References:
        Lipman et al., Flow Matching for Generative Modeling, 2022, eq. 15.
    """

    def coefficients(self, sde: AbstractSDE, t: Level) -> tuple[Array, Array]:
        t = jnp.asarray(t, jnp.result_type(float))
        one = jnp.ones_like(t)
        return jax.jvp(sde.alpha, (t,), (one,))[1], jax.jvp(sde.sigma, (t,), (one,))[1]


class EDMPreconditioned(AbstractPrediction):
    """EDM's preconditioned network: `D = c_skip x + c_out F(c_noise, c_in x)` in canonical coordinates.

    The network sees unit-variance inputs `c_in x` with the label `c_noise = log(s) / 4`, and its training target
    has unit variance too, for any SDE.

    Args:
        sigma_data: standard deviation of the data, in data units.

    References:
        Karras et al., 2022, eq. 7 and table 1.
    """

    sigma_data: float = 0.5

    def __check_init__(self):
        if isinstance(self.sigma_data, int | float) and not self.sigma_data > 0:
            raise ValueError(f"sigma_data must be > 0, got {self.sigma_data}")

    def coefficients(self, sde: AbstractSDE, t: Level) -> tuple[Array, Array]:
        s = sde.s(t)
        radius = jnp.hypot(s, self.sigma_data)
        return s / (self.sigma_data * radius), -self.sigma_data / radius

    def inputs(self, sde: AbstractSDE, t: Level, x: Batch) -> tuple[Array, Batch]:
        s = sde.s(t)
        return 0.25 * jnp.log(s), x * expand(1 / (sde.alpha(t) * jnp.hypot(s, self.sigma_data)), x)


class ConsistencyPreconditioned(AbstractPrediction):
    """EDM's preconditioning shifted so that the estimate of the data at the smallest noise level is `x` itself.

    `f = c_skip x + c_out F` in canonical coordinates with `c_skip = sigma_data**2 / ((s - s_min)**2 + sigma_data**2)`
    and `c_out = sigma_data (s - s_min) / sqrt(s**2 + sigma_data**2)`; label and input are EDM's. What is estimated is
    not the mean of the data but the end of the probability flow from `x`.

    Args:
        sigma_data: standard deviation of the data, in data units.
        s_min: the smallest noise level, where the consistency function is the identity.

    References:
        Song et al., Consistency Models, 2023, eq. 5, appendix C.
    """

    sigma_data: float = 0.5
    s_min: float = 0.002

    def _skip_and_out(self, s: Array) -> tuple[Array, Array]:
        above = s - self.s_min
        skip = self.sigma_data**2 / (above**2 + self.sigma_data**2)
        return skip, above * self.sigma_data / jnp.hypot(s, self.sigma_data)

    def coefficients(self, sde: AbstractSDE, t: Level) -> tuple[Array, Array]:
        s = sde.s(t)
        skip, out = self._skip_and_out(s)
        return (1 - skip) / out, -skip * s / out

    def inputs(self, sde: AbstractSDE, t: Level, x: Batch) -> tuple[Array, Batch]:
        return EDMPreconditioned(self.sigma_data).inputs(sde, t, x)

    def split(self, sde: AbstractSDE, t: Level, x: Batch, output: Batch) -> tuple[Batch, Batch]:
        # Not by the coefficients, which grow without bound towards s_min.
        s, xbar = sde.s(t), x / expand(sde.alpha(t), x)
        skip, out = self._skip_and_out(s)
        x0 = expand(skip, x) * xbar + expand(out, x) * output
        return x0, (xbar - x0) / expand(s, x)


class Labelled(AbstractPrediction):
    """Another prediction with a noise label of its own, in place of the time `t`.

    Args:
        prediction: what the network's output stands for.
        label: `label(sde, t) -> Array`, the label the network is fed at time `t`, of the shape of `t`. One and the
            same function object each time, so that compiled functions are found again.
    """

    prediction: AbstractPrediction
    label: Callable[[AbstractSDE, Level], Array] = eqx.field(static=True)

    def coefficients(self, sde: AbstractSDE, t: Level) -> tuple[Array, Array]:
        return self.prediction.coefficients(sde, t)

    def inputs(self, sde: AbstractSDE, t: Level, x: Batch) -> tuple[Array, Batch]:
        return self.label(sde, t), self.prediction.inputs(sde, t, x)[1]

    def split(self, sde: AbstractSDE, t: Level, x: Batch, output: Batch) -> tuple[Batch, Batch]:
        return self.prediction.split(sde, t, x, output)


def level_score(sigma_begin: float = 1.0, sigma_end: float = 0.01, levels: int = 10) -> Labelled:
    """Return the prediction of NCSN: the score, of a network fed the index of the noise level.

    Args:
        sigma_begin: largest noise level, of index 0.
        sigma_end: smallest noise level.
        levels: number of noise levels, in geometric sequence.

    References:
        Song and Ermon, Generative Modeling by Estimating Gradients of the Data Distribution, 2019, section 4.1.
    """
    return Labelled(Score(), NearestLevel(tuple(np.geomspace(sigma_begin, sigma_end, levels).tolist())))


PREDICTIONS = {
    "score": Score,
    "scaled_score": ScaledScore,
    "noise": Noise,
    "denoised": Denoised,
    "velocity": Velocity,
    "flow": Flow,
    "edm": EDMPreconditioned,
}


def as_prediction(prediction: str | AbstractPrediction) -> AbstractPrediction:
    """Return the prediction of that name, or the object itself.

    Raises:
        ValueError: if the name is unknown.
    """
    if isinstance(prediction, AbstractPrediction):
        return prediction
    return choose("prediction", prediction, PREDICTIONS)()


def convert(
    sde: AbstractSDE,
    t: Level,
    x: Batch,
    output: Batch,
    source: str | AbstractPrediction,
    target: str | AbstractPrediction,
) -> Batch:
    """Turn an output of one prediction at `(t, x)` into another's, e.g. a velocity into noise."""
    x0, noise = as_prediction(source).split(sde, t, x, output)
    return as_prediction(target).join(sde, t, x0, noise)


class NetworkScore(eqx.Module):
    """The score function of a network: see `as_score`.

    A pytree: with `network = jax.tree_util.Partial(apply, params)` the parameters are its leaves, so that compiled
    functions taking it need no recompilation when only the parameters change.
    """

    sde: AbstractSDE
    prediction: AbstractPrediction
    network: Callable

    def __call__(self, t: Level, x: Batch) -> Batch:
        return -self._estimates(t, x)[1] / expand(self.sde.sigma(t), x)

    def denoised(self, t: Level, x: Batch) -> Batch:
        """Return the estimate of the data [b, ...]; of a consistency model, the consistency function."""
        return self._estimates(t, x)[0]

    def _estimates(self, t: Level, x: Batch) -> tuple[Batch, Batch]:
        t = jnp.broadcast_to(jnp.asarray(t, x.dtype), x.shape[:1])
        output = self.network(*self.prediction.inputs(self.sde, t, x))
        check_like("network(label, x)", output, x)
        return self.prediction.split(self.sde, t, x, output)


def as_score(sde: AbstractSDE, prediction: str | AbstractPrediction, network: Callable) -> NetworkScore:
    """Make a score function `score_fn(t, x) -> score` [b, ...] of a network.

    Args:
        sde: the SDE the network was, or is to be, trained for.
        prediction: what the network estimates: a name in `PREDICTIONS` or an `AbstractPrediction`.
        network: `network(label, x) -> output` with `label` [b] (the time `t`, or what the prediction prescribes),
            `x` and output [b, ...].

    Raises:
        ValueError: if the prediction's name is unknown, or when called if the network's output is of another shape.
    """
    return NetworkScore(sde, as_prediction(prediction), network)


def evaluate(score_fn: ScoreFn, t: Level, x: Batch) -> Batch:
    """Return `score_fn(t, x)` [b, ...].

    Raises:
        ValueError: if it is not of the shape of `x`, as where a function takes `x` before `t`.
    """
    score = score_fn(t, x)
    check_like("score_fn(t, x)", score, x)
    return score


def as_denoiser(sde: AbstractSDE, score_fn: ScoreFn) -> Callable[[Level, Batch], Batch]:
    """Make `denoiser(t, x) -> x0 estimate` [b, ...] of a score function, by Tweedie's formula.

    References:
        Efron, Tweedie's Formula and Selection Bias, 2011.
    """

    def denoiser(t, x):
        return (x + expand(sde.sigma(t), x) ** 2 * evaluate(score_fn, t, x)) / expand(sde.alpha(t), x)

    return denoiser


def as_noise(sde: AbstractSDE, score_fn: ScoreFn) -> Callable[[Level, Batch], Batch]:
    """Make the noise estimate in canonical coordinates, `noise(s, x / alpha) -> -s grad log p` [b, ...].

    This is the right-hand side of the probability-flow ODE in the clock `s`.
    """

    def noise(s, xbar):
        t = sde.t(s)
        return -expand(sde.sigma(t), xbar) * evaluate(score_fn, t, expand(sde.alpha(t), xbar) * xbar)

    return noise
