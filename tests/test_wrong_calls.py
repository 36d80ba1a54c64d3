"""Wrong calls of the core end in one sentence that names the argument, what came and what is allowed."""

import diffrax
import jax
import jax.numpy as jnp
import jaxtyping
import pytest

import sgm_jax as sgm
from sgm_jax import networks

KEY, SHAPE = jax.random.key(0), (8, 2)
x, whole = jnp.ones(SHAPE), jnp.ones(SHAPE, jnp.uint8)
sde, score = sgm.VP(), lambda t, x: -x
swapped = lambda x, t: -x
narrow = sgm.as_score(sde, "noise", lambda label, x: x[:, :1])
NETWORKS = networks.UNet(), networks.ncsnv2(), networks.DiT(), networks.VDMUNet(), networks.WideResNet(classes=10)
falling = sgm.LinearSDE(lambda t: 1.0 + t, lambda t: 1.0 - 0.5 * t)


def draw(*, key=KEY, process=None, score=score, sde=sde, shape=SHAPE, **options):
    process = sgm.ProbabilityFlow(sde, score) if process is None else process
    return sgm.sample(key, process, shape, **{"steps": 2} | options)


def match(score, x0=x):
    return sgm.denoising_score_matching(KEY, sde, score, x0)


@pytest.fixture
def as_users_call_it():
    """Switch off the checks of types, which users don't have and which would refuse first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: draw(score=swapped), r"score_fn\(t, x\) must return an array of the shape of x \(8, 2\), got \(\)"),
        (lambda: match(swapped), r"score_fn\(t, x\) must return an array of the shape of x \(8, 2\), got \(8,\)"),
        (lambda: draw(score=narrow), r"network\(label, x\) must return .* of x \(8, 2\), got \(8, 1\)"),
        (lambda: draw(process=score), "process must be a ProbabilityFlow or ReverseSDE of .* got a function"),
        (lambda: draw(shape=8), r"shape must be that of all samples, a tuple \(b, ...\), got 8"),
        (lambda: draw(key=0), "key must be made by jax.random.key, got 0"),
        (lambda: draw(key=jax.random.PRNGKey(0)), "key must be made by jax.random.key, got uint32"),
        (lambda: draw(solver="heun"), r"solver must be a diffrax solver, such as .* got 'heun'"),
        (lambda: draw(solver=diffrax.Heun), "solver must be a diffrax solver, such as .* got <class"),
        (lambda: draw(schedule="karras"), r"schedule must be a function .* got 'karras'"),
        (lambda: draw(steps=2.0), "steps must be an integer of at least 1, got 2.0"),
        (
            lambda: draw(sde=falling),
            "sigma / alpha of LinearSDE must rise from t_min=1e-05 to t_max=1.0, got 0.99.* to 0.25",
        ),
        (lambda: match(score, whole), "x0 must be floating-point numbers, .* got uint8"),
        (lambda: sgm.log_likelihood(KEY, sde, score, whole), "x must be floating-point numbers, .* got uint8"),
        (
            lambda: sgm.Sampler(sgm.pretrained("mnist"), steps=2)(KEY, 2, 1.5),
            r"label must be .* in \[0, 10\), .* got 1.5",
        ),
        (lambda: sgm.encode(sde, score, whole), "x must be floating-point numbers, .* got uint8"),
    ],
)
def test_wrong_calls_are_named(call, message, as_users_call_it):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: type(network).__name__)
def test_images_without_channels_are_named(network, as_users_call_it):
    with pytest.raises(ValueError, match=r"images \[b, h, w, c\], .* got an array of shape \(8, 28, 28\)"):
        jax.eval_shape(network.init, KEY, jnp.zeros(8, int), jnp.zeros((8, 28, 28)))


def test_a_misspelt_name_is_told_the_nearest():
    with pytest.raises(AttributeError, match="no attribute 'ProbabilityFlo'; did you mean 'ProbabilityFlow'"):
        sgm.ProbabilityFlo  # noqa: B018
