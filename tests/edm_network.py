"""EDM's DDPM++ network written out, to run samplers against recordings of it.

A plain function of the published state_dict; arrays are [b, c, h, w] as there.

References:
    Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, appendix C.
"""

import jax
import jax.numpy as jnp

# The recorded network: one block a level, two going up, attention at 8x8.
ENCODER = ("16x16_conv", "16x16_block0", "8x8_down", "8x8_block0")
DECODER = ("8x8_in0", "8x8_in1", "8x8_block0", "8x8_block1", "16x16_up", "16x16_block0", "16x16_block1")


def conv(state, name, x):
    kernel, bias = state[name + ".weight"], state[name + ".bias"]
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME") + bias[:, None, None]


def dense(state, name, x):
    return x @ state[name + ".weight"].T + state[name + ".bias"]


def norm(state, name, x):
    grouped = x.reshape(x.shape[0], min(x.shape[1] // 4, 32), -1)
    grouped = (grouped - grouped.mean(2, keepdims=True)) / jnp.sqrt(grouped.var(2, keepdims=True) + 1e-6)
    return grouped.reshape(x.shape) * state[name + ".weight"][:, None, None] + state[name + ".bias"][:, None, None]


def resample(name, x):
    """Double or halve the resolution where the block's name says so, by repetition or averaging of pixels."""
    if name.endswith("_up"):
        return x.repeat(2, axis=2).repeat(2, axis=3)
    if name.endswith("_down"):
        b, c, h, w = x.shape
        return x.reshape(b, c, h // 2, 2, w // 2, 2).mean((3, 5))
    return x


def attention(state, name, x):
    b, c, h, w = x.shape
    # The projections of a channel are neighbours.
    qkv = conv(state, name + ".qkv", norm(state, name + ".norm2", x)).reshape(b, c, 3, h * w)
    query, key, value = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
    weights = jax.nn.softmax(jnp.einsum("bcq,bck->bqk", query, key) / jnp.sqrt(c), axis=2)
    attended = jnp.einsum("bqk,bck->bcq", weights, value).reshape(x.shape)
    return (conv(state, name + ".proj", attended) + x) * 0.5**0.5


def block(state, name, x, embedding):
    h = conv(state, name + ".conv0", resample(name, jax.nn.silu(norm(state, name + ".norm0", x))))
    h = h + dense(state, name + ".affine", embedding)[:, :, None, None]
    h = conv(state, name + ".conv1", jax.nn.silu(norm(state, name + ".norm1", h)))
    x = resample(name, x)
    skip = conv(state, name + ".skip", x) if name + ".skip.weight" in state else x
    x = (h + skip) * 0.5**0.5
    return attention(state, name, x) if name + ".qkv.weight" in state else x


def embed(state, label, classes, augment):
    half = state["model.map_layer0.weight"].shape[1] // 2
    angles = label[:, None] * 1e-4 ** (jnp.arange(half) / (half - 1))
    embedding = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)
    embedding = embedding + dense(state, "model.map_label", classes * classes.shape[1] ** 0.5)
    if augment is not None:
        embedding = embedding + augment @ state["model.map_augment.weight"].T
    for layer in ("model.map_layer0", "model.map_layer1"):
        embedding = jax.nn.silu(dense(state, layer, embedding))
    return embedding


def song_unet(state, label, x, classes, augment=None):
    """Return the raw network's output [b, c, h, w].

    Args:
        state: the state_dict.
        label: what stands for the noise level, `log(s) / 4` [b].
        x: input of unit variance [b, c, h, w].
        classes: one-hot classes [b, k].
        augment: augmentation labels [b, m], or None.
    """
    embedding = embed(state, label, classes, augment)
    skips = []
    for name in (f"model.enc.{name}" for name in ENCODER):
        x = conv(state, name, x) if name.endswith("_conv") else block(state, name, x, embedding)
        skips.append(x)
    for name in (f"model.dec.{name}" for name in DECODER):
        if x.shape[1] != state[name + ".norm0.weight"].shape[0]:
            x = jnp.concatenate([x, skips.pop()], axis=1)
        x = block(state, name, x, embedding)
    x = jax.nn.silu(norm(state, "model.dec.16x16_aux_norm", x))
    return conv(state, "model.dec.16x16_aux_conv", x)
