"""EDM's checkpoints: converted networks against recordings, preconditioners against their formulas."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recorded import StandIn, load

import sgm_jax as sgm
from sgm_jax.convert import edm


def channels_last(x):
    return jnp.asarray(x.transpose(0, 2, 3, 1))


@functools.cache
def recording(name):
    """Return the converted network, and the recorded arrays with images [b, h, w, c]."""
    state, recorded, config = load(f"edm_{name}.npz")
    images = {key: channels_last(recorded[key]) for key in ("x", "denoised")}
    return edm(state, config), {key: jnp.asarray(value) for key, value in recorded.items()} | images


def close(ours, theirs):
    return jnp.abs(ours - theirs).max() < 1e-4 * theirs.std()


@pytest.mark.parametrize("name", ["ddpmpp", "ncsnpp", "adm", "vp"])
def test_denoised_images_are_the_recorded_ones(name):
    pretrained, recorded = recording(name)
    labels = recorded.get("class_labels"), recorded.get("augment_labels")
    assert close(jax.jit(pretrained.apply)(recorded["sigma"], recorded["x"], *labels), recorded["denoised"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adm", "vp"])
def test_score_given_classes_is_that_of_the_recorded_denoiser(name):
    pretrained, recorded = recording(name)
    # The recorded vectors are one-hot; here the classes are their numbers.
    classes = recorded["class_labels"].argmax(1) if "class_labels" in recorded else None
    sde, score_fn = pretrained.sde, pretrained.conditional(classes)
    t = sde.t(recorded["sigma"])
    x = sde.alpha(t)[:, None, None, None] * recorded["x"]
    assert close(jax.jit(sgm.as_denoiser(sde, score_fn))(t, x), recorded["denoised"])


SIGMA = jnp.array([0.05, 7.0])


def ve(network, x, sigma):
    """Return the denoised images of the VE preconditioner by its formula."""
    return x + sigma * network(jnp.log(SIGMA / 2), x)


def iddpm(network, x, sigma, points=1000):
    """Return those of iDDPM's, whose labels count the noise levels u of a recursion."""
    alpha_bar = np.sin(0.5 * np.pi * np.arange(points + 1) / points / 1.008) ** 2
    u = np.zeros(points + 1)
    for j in range(points, 0, -1):
        u[j - 1] = np.sqrt((u[j] ** 2 + 1) / max(alpha_bar[j - 1] / alpha_bar[j], 0.001) - 1)
    label = jnp.asarray(points - 1.0 - np.abs(np.asarray(SIGMA)[:, None] - u).argmin(1))
    return x - sigma * network(label, x / jnp.sqrt(1 + sigma**2))


def with_variance(state):
    """Return the tensors of a network with twice the channels."""
    state = dict(state)
    for name in ("model.out_conv.weight", "model.out_conv.bias"):
        state[name] = np.concatenate([state[name], 100 + state[name]])
    return state


@pytest.mark.parametrize(
    "precond, name, tensors, formula", [("VEPrecond", "vp", dict, ve), ("iDDPMPrecond", "adm", with_variance, iddpm)]
)
def test_preconditioner_is_its_formula(precond, name, tensors, formula):
    state, _, config = load(f"edm_{name}.npz")
    pretrained = edm(tensors(state), config | {"precond": precond})
    # The recorded preconditioners have the same networks.
    jax.tree.map(np.testing.assert_array_equal, pretrained.params, edm(state, config).params)
    network = functools.partial(StandIn().apply, {})
    x = 3 * jax.random.normal(jax.random.key(0), (2, 16, 16, 3))
    expected = formula(network, x, SIGMA[:, None, None, None])
    assert close(dataclasses.replace(pretrained, network=StandIn()).apply(SIGMA, x), expected)


def test_every_missing_extra_and_misshapen_tensor_is_named():
    state, _, config = load("edm_vp.npz")
    del state["model.enc.8x8_block0.qkv.weight"], state["model.map_layer0.bias"]
    state["model.dec.8x8_in0.proj.weight"] = np.zeros((32, 31, 1, 1), np.float32)
    state["model.surplus.weight"] = np.zeros(3, np.float32)
    with pytest.raises(ValueError) as error:
        edm(state, config)
    for name in ("enc.8x8_block0.qkv.weight", "embedding/dense_0/bias", "dec.8x8_in0.proj", "surplus.weight"):
        assert name in str(error.value)


@pytest.mark.parametrize(
    "flags, message",
    [
        ({"precond": "VPreconditioned"}, "precond must be one of .*VPPrecond"),
        ({"model_type": "UNet"}, "model_type must be one of SongUNet, DhariwalUNet"),
        ({"chanel_mult": [1]}, "did you mean 'channel_mult'"),
        ({"img_resolution": ...}, "img_resolution"),
        ({"decoder_type": "residual"}, "decoder_type must be one of standard, skip"),
    ],
)
def test_flags_that_are_wrong_are_named(flags, message):
    state, _, config = load("edm_vp.npz")
    with pytest.raises(ValueError, match=message):
        edm(state, {key: value for key, value in (config | flags).items() if value is not ...})
