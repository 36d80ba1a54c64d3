"""Consistency models: the recorded ADM network in their layout, and their preconditioning by its formulas."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recorded import StandIn, load

import sgm_jax as sgm
from sgm_jax.convert import Pretrained, consistency

FLAGS = dict(
    image_size=16,
    num_channels=32,
    channel_mult="1,2",
    num_res_blocks=1,
    attention_resolutions="8",
    num_head_channels=64,
    class_cond=True,
    num_classes=5,
    resblock_updown=True,
    distillation=True,
)
# Where the recorded network, of two levels and one block a level, has its parts in this layout.
LAYERS = {
    "map_layer0": "time_embed.0",
    "map_layer1": "time_embed.2",
    "map_label": "label_emb",
    "enc.16x16_conv": "input_blocks.0.0",
    "out_norm": "out.0",
    "out_conv": "out.2",
}
BLOCKS = {
    "enc.16x16_block0": "input_blocks.1.0",
    "enc.8x8_down": "input_blocks.2.0",
    "enc.8x8_block0": "input_blocks.3.0",
    "dec.8x8_in0": "middle_block.0",
    "dec.8x8_in1": "middle_block.2",
    "dec.8x8_block0": "output_blocks.0.0",
    "dec.8x8_block1": "output_blocks.1.0",
    "dec.16x16_up": "output_blocks.1.2",
    "dec.16x16_block0": "output_blocks.2.0",
    "dec.16x16_block1": "output_blocks.3.0",
}
RESIDUAL = dict(
    norm0="in_layers.0",
    conv0="in_layers.2",
    affine="emb_layers.1",
    norm1="out_layers.0",
    conv1="out_layers.3",
    skip="skip_connection",
)
ATTENTION = dict(norm2="norm", qkv="qkv", proj="proj_out")


def renamed(name):
    """Return the name in this layout of a tensor of the recorded network."""
    layer, leaf = name.removeprefix("model.").rsplit(".", 1)
    if layer in LAYERS:
        return f"{LAYERS[layer]}.{leaf}"
    block, part = layer.rsplit(".", 1)
    if part in RESIDUAL:
        return f"{BLOCKS[block]}.{RESIDUAL[part]}.{leaf}"
    # An attention follows its block in the same list.
    return f"{BLOCKS[block][:-1]}1.{ATTENTION[part]}.{leaf}"


@functools.cache
def recording():
    """Return the recorded tensors in this layout, and the recorded arrays with images [b, h, w, c]."""
    state, recorded, _ = load("edm_adm.npz")
    state = {renamed(name): tensor for name, tensor in state.items() if not name.endswith("resample_filter")}
    for name, tensor in state.items():
        if ".qkv." in name:
            # From each channel's query, key and value to all queries, all keys, all values; there is one head.
            state[name] = tensor.reshape(-1, 3, *tensor.shape[1:]).swapaxes(0, 1).reshape(tensor.shape)
    state["label_emb.weight"] = state["label_emb.weight"].T
    images = {key: jnp.asarray(recorded[key].transpose(0, 2, 3, 1)) for key in ("x", "denoised")}
    return state, {key: jnp.asarray(value) for key, value in recorded.items()} | images


@functools.cache
def model(**flags):
    return consistency(recording()[0], FLAGS | flags)


def scalings(sigma, sigma_min=0.0, sigma_data=0.5):
    """Return the factors of x, of the output and of the network's input."""
    sigma, radius = sigma[:, None, None, None], jnp.sqrt(sigma**2 + sigma_data**2)[:, None, None, None]
    above = sigma - sigma_min
    return sigma_data**2 / (above**2 + sigma_data**2), above * sigma_data / radius, 1 / radius


def test_network_is_the_recorded_one():
    _, recorded = recording()
    # The recorded network is so narrow that its groups hold four channels; in this layout there are always 32 groups.
    pretrained = dataclasses.replace(model(), network=model().network.clone(group_size=4))
    skip, out, scale = scalings(recorded["sigma"])
    network = jax.jit(functools.partial(Pretrained.apply, pretrained))
    output = network(jnp.log(recorded["sigma"]) / 4, scale * recorded["x"], recorded["class_labels"])
    error = jnp.abs(skip * recorded["x"] + out * output - recorded["denoised"])
    assert error.max() < 1e-4 * recorded["denoised"].std()


@pytest.mark.parametrize("distillation", [True, False])
def test_output_is_that_of_the_published_preconditioning(distillation):
    pretrained = dataclasses.replace(model(distillation=distillation), network=StandIn())
    sigma, x = jnp.array([0.002, 0.3, 80.0]), jax.random.normal(jax.random.key(0), (3, 16, 16, 3))
    label = jnp.array([4, 0, 2])
    skip, out, scale = scalings(sigma, sigma_min=0.002 if distillation else 0.0)
    raw = StandIn().apply({}, 1000 * 0.25 * jnp.log(sigma + 1e-44), scale * x, label)
    expected = skip * x + out * raw
    ours = pretrained.apply(sigma, x, label)
    np.testing.assert_allclose(ours, expected, atol=1e-4 * expected.std())
    of_the_score = sgm.as_denoiser(pretrained.sde, pretrained.conditional(label))(sigma, x)
    np.testing.assert_allclose(of_the_score, expected, atol=1e-4 * expected.std())
    if distillation:
        np.testing.assert_array_equal(ours[0], x[0])


def test_heads_are_taken_apart_in_either_order():
    state, _ = recording()
    # Two heads: from part, head, channel to head, part, channel.
    legacy = {
        name: tensor.reshape(3, 2, 32, *tensor.shape[1:]).swapaxes(0, 1).reshape(tensor.shape)
        if ".qkv." in name
        else tensor
        for name, tensor in state.items()
    }
    flags = FLAGS | dict(num_head_channels=32)
    ours = consistency(legacy, flags | dict(attention_type="legacy")).params
    jax.tree.map(np.testing.assert_array_equal, ours, consistency(state, flags).params)


def test_levels_are_joined_by_convolutions_where_the_flags_say_so():
    state = {name: tensor for name, tensor in recording()[0].items() if "input_blocks.2." not in name}
    state = {name: tensor for name, tensor in state.items() if "output_blocks.1.2." not in name}
    kernels = {"input_blocks.2.0.op": 32, "output_blocks.1.2.conv": 64}
    for name, width in kernels.items():
        state[f"{name}.weight"] = np.full((width, width, 3, 3), width, np.float32)
        state[f"{name}.bias"] = np.zeros(width, np.float32)
    params = consistency(state, FLAGS | dict(resblock_updown=False)).params
    assert params["down_0_resample"]["kernel"].mean() == 32
    assert params["up_1_resample"]["kernel"].mean() == 64


def test_training_mode_says_what_the_model_is():
    flags = {name: value for name, value in FLAGS.items() if name != "distillation"}
    distilled = consistency(recording()[0], flags | dict(training_mode="consistency_distillation"))
    assert distilled.prediction == model().prediction
    teacher = consistency(recording()[0], flags | dict(training_mode="edm"))
    assert teacher.prediction == model(distillation=False).prediction
    with pytest.raises(ValueError, match="distillation or training_mode"):
        consistency(recording()[0], flags)


def test_every_missing_extra_and_misshapen_tensor_is_named():
    state = dict(recording()[0])
    del state["middle_block.1.qkv.weight"]
    state["input_blocks.1.0.in_layers.2.weight"] = np.zeros((32, 31, 3, 3), np.float32)
    state["input_blocks.3.1.qkv.weight"] = np.zeros((191, 64, 1, 1), np.float32)
    state["surplus.weight"] = np.zeros(3, np.float32)
    with pytest.raises(ValueError) as error:
        consistency(state, FLAGS)
    for name in (
        "middle_block.1.qkv.weight",
        "input_blocks.1.0.in_layers.2.weight",
        "input_blocks.3.1.qkv.weight",
        "surplus.weight",
    ):
        assert name in str(error.value)


@pytest.mark.parametrize(
    "flags, message",
    [
        (dict(channel_mult=""), "channel_mult must begin with 1"),
        (dict(channel_mult="2,2"), "channel_mult must begin with 1"),
        (dict(attention_type="slow"), "attention_type must be one of flash, legacy"),
        (dict(num_heads_upsample=2), "num_heads_upsample must be -1 or 4, got 2"),
        (dict(image_sise=64), "did you mean 'image_size'"),
    ],
)
def test_flags_that_are_wrong_are_named(flags, message):
    with pytest.raises(ValueError, match=message):
        consistency({}, FLAGS | flags)
