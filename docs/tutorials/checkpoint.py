# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # A published checkpoint
#
# Networks that others trained, in PyTorch or in old versions of flax, are read as data: no PyTorch is needed, nothing
# in a file is run. With the file come its SDE, what it predicts and how its images are scaled, and after that it is a
# score function like any other: sample it, measure likelihoods, restore images.
#
#     CHECKPOINT=checkpoint_24.pth CHECKPOINT_CONFIG=ve/cifar10_ncsnpp_continuous DATA=cifar10 \
#         python docs/tutorials/checkpoint.py
#
# runs the page on a checkpoint of score_sde (a GPU is welcome). Without, as here, it first makes a stand-in: a folder
# just as diffusers writes them, of a small `UNet2DModel` for MNIST averaged to 8x8 pixels.

# %%
import json
import os
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import optax
import safetensors.numpy
from PIL import Image

import sgm_jax as sgm
from sgm_jax import convert, data, inverse, report, sampling

FIGURES = pathlib.Path(os.environ.get("FIGURES", "."))
CONFIG = {
    "_class_name": "UNet2DModel",
    "sample_size": 8,
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": [16, 32],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "norm_num_groups": 8,
}
SCHEDULER = {"_class_name": "DDPMScheduler", "beta_schedule": "linear", "num_train_timesteps": 1000}


def small_digits(part):
    """Return digits averaged to 8x8 pixels, 8 bits."""
    images = data.gather(part, range(len(part)))["x"][:, 2:26, 2:26]
    return images.reshape(-1, 8, 3, 8, 3, 1).mean(axis=(2, 4)).round().astype(np.uint8)


# %% [markdown]
# ## The stand-in
#
# The shapes of its tensors, by the names that diffusers gives them:


# %%
def tensor_shapes():
    """Return the shape of every tensor of the reference's model."""
    shapes = {}

    def layers(name, **weights):
        for layer, weight in weights.items():
            layer = f"{name}.{layer}".lstrip(".").replace("__", ".")
            shapes[f"{layer}.weight"], shapes[f"{layer}.bias"] = weight, weight[:1]

    def residual(name, a, b):
        layers(name, norm1=(a,), conv1=(b, a, 3, 3), time_emb_proj=(b, 64), norm2=(b,), conv2=(b, b, 3, 3))
        if a != b:
            layers(name, conv_shortcut=(b, a, 1, 1))

    def attention(name):
        layers(name, group_norm=(32,), to_q=(32, 32), to_k=(32, 32), to_v=(32, 32), to_out__0=(32, 32))

    layers("", conv_in=(16, 1, 3, 3), conv_norm_out=(16,), conv_out=(1, 16, 3, 3))
    layers("time_embedding", linear_1=(64, 16), linear_2=(64, 64))
    layers("down_blocks.0.downsamplers.0", conv=(16, 16, 3, 3))
    layers("up_blocks.0.upsamplers.0", conv=(32, 32, 3, 3))
    for name, a, b in (
        ("down_blocks.0.resnets.0", 16, 16),
        ("down_blocks.1.resnets.0", 16, 32),
        ("mid_block.resnets.0", 32, 32),
        ("mid_block.resnets.1", 32, 32),
        ("up_blocks.0.resnets.0", 64, 32),
        ("up_blocks.0.resnets.1", 48, 32),
        ("up_blocks.1.resnets.0", 48, 16),
        ("up_blocks.1.resnets.1", 32, 16),
    ):
        residual(name, a, b)
    for name in ("down_blocks.1", "mid_block", "up_blocks.0"):
        for number in range(2 if name == "up_blocks.0" else 1):
            attention(f"{name}.attentions.{number}")
    return shapes


# %% [markdown]
# Conversion moves numbers and changes none. So number them, convert the numbers, and they say where each weight goes:
# the way back, from this library to the layout of another, for any format that it reads.


# %%
def numbered(shapes):
    """Return the tensors of these shapes that hold 0, 1, 2, ... throughout."""
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    parts = np.split(np.arange(sum(sizes), dtype=np.float32), np.cumsum(sizes)[:-1])  # float32 counts to 2**24
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def in_their_layout(params, places, shapes):
    """Return parameters as the reference's tensors, `places` being the converted numbers."""
    flat = np.zeros(sum(int(np.prod(shape)) for shape in shapes.values()), np.float32)
    for leaf, place in zip(jax.tree.leaves(params), jax.tree.leaves(places), strict=True):
        flat[np.asarray(place, int)] = leaf
    return {name: flat[number.astype(int)] for name, number in numbered(shapes).items()}


def train(model, images, steps=600, batch=64):
    """Return parameters after `steps` of Adam, averaged: DDPM's loss at the SDE of the scheduler."""
    example = jnp.ones(1), jnp.zeros((1, 8, 8, 1))
    params = jax.jit(model.network.init)(jax.random.key(0), *example)["params"]
    optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, steps))

    def loss(params, key, raw):
        dequantise, noise = jax.random.split(key)
        network = lambda label, x: model.network.apply({"params": params}, label, x)
        score = sgm.as_score(model.sde, model.prediction, network)
        return sgm.denoising_score_matching(noise, model.sde, score, model.scaling.dequantise(dequantise, raw)).mean()

    def step(carry, key):
        params, average, state = carry
        pick, noise = jax.random.split(key)
        raw = images[jax.random.randint(pick, (batch,), 0, len(images))]
        value, gradient = jax.value_and_grad(loss)(params, noise, raw)
        updates, state = optimizer.update(gradient, state)
        params = optax.apply_updates(params, updates)
        return (params, optax.incremental_update(params, average, 0.01), state), value

    keys = jax.random.split(jax.random.key(1), steps)
    carry, losses = jax.jit(lambda carry: jax.lax.scan(step, carry, keys))((params, params, optimizer.init(params)))
    print(f"stand-in trained: loss {losses[:20].mean():.1f} to {losses[-20:].mean():.1f}")
    return carry[1]


def make_stand_in(folder, images):
    """Write a folder with `config.json`, scheduler and safetensors, as a pipeline of diffusers is published."""
    shapes = tensor_shapes()
    places = convert.diffusers(numbered(shapes), CONFIG, SCHEDULER)
    model = sgm.convert.Pretrained(
        places.network, {}, places.sde, places.prediction, CONFIG, (8, 8, 1), sgm.pretrained("mnist").scaling
    )
    tensors = in_their_layout(train(model, images), places.params, shapes)
    for name, content in (("unet/config.json", CONFIG), ("scheduler/scheduler_config.json", SCHEDULER)):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(json.dumps(content))
    safetensors.numpy.save_file(tensors, folder / "unet" / "diffusion_pytorch_model.safetensors")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "DDPMPipeline"}))
    return folder


# %%
if "CHECKPOINT" in os.environ:
    source, config = os.environ["CHECKPOINT"], os.environ.get("CHECKPOINT_CONFIG")
    dataset = data.load(os.environ["DATA"])
    held_out = data.gather(dataset.test, range(8))["x"]
else:
    digits = data.load("mnist")
    source, config = make_stand_in(pathlib.Path(tempfile.mkdtemp()), jnp.asarray(small_digits(digits.train))), None
    held_out = small_digits(digits.test)[:8]

# %% [markdown]
# ## Convert
#
# One call for every format; what the file is follows from its content. A score_sde checkpoint does not hold its
# configuration: give the name of the published one.

# %%
model = convert.load(source, config=config)
count = sum(leaf.size for leaf in jax.tree.leaves(model.params))
kind, sde = type(model.network).__name__, type(model.sde).__name__
print(f"{model.card['format']}: {kind}, {count:,} parameters, {sde}, {model.shape}")

# %% [markdown]
# Every tensor is used exactly once and must fit, and a file that does not is refused with all that is wrong with it:

# %%
if "CHECKPOINT" not in os.environ:
    tensors = numbered(tensor_shapes())
    tensors["conv_in.wieght"] = tensors.pop("conv_in.weight")
    try:
        convert.diffusers(tensors, CONFIG, SCHEDULER)
    except ValueError as error:
        print(error)
        assert "missing: conv_in.weight" in str(error) and "conv_in.wieght" in str(error)
    else:
        raise AssertionError("a misspelt tensor went unnoticed")

# %% [markdown]
# ## Sample
#
# By any sampler, whatever the model's own was. Twenty evaluations here, each with the estimate of the clean image
# clipped to the range of images, as DDPM does: at much noise a small error of the noise is a large one of the image.

# %%
clip = sampling.StaticThreshold(model.scaling.low, model.scaling.high)
flow = sgm.ProbabilityFlow(model.sde, sampling.threshold(model.sde, model.score_fn, clip))
drawn = sgm.sample(jax.random.key(0), flow, (48, *model.shape), steps=19)
samples = np.asarray(model.scaling.to_raw(drawn.x))
sheet = report.images.enlarge(report.images.grid(samples, columns=16), 900)
report.images.save_png(FIGURES / "checkpoint_samples.png", sheet)
real, noise = held_out.mean() / 255, np.random.default_rng(0).integers(0, 256, held_out.shape).mean() / 255
print(f"mean brightness: samples {samples.mean() / 255:.2f}, held-out images {real:.2f}, noise {noise:.2f}")
assert abs(samples.mean() / 255 - real) < 0.1
Image.open(FIGURES / "checkpoint_samples.png")  # a notebook shows it

# %% [markdown]
# ![samples](../images/checkpoint_samples.png)
#
# ## Likelihood
#
# Bits per dimension of held-out images, dequantised. The conventions of the papers, the seven bits of [-1, 1] and the
# eight of [0, 1], are the scaling's affair.

# %%
x = model.scaling.dequantise(jax.random.key(1), jnp.asarray(held_out))
options = {"chart": sgm.Angle(0.5), "rtol": 1e-2, "atol": 1e-2}
likelihood = sgm.log_likelihood(jax.random.key(2), model.sde, model.score_fn, x, **options)
bits = model.scaling.bits_per_dim(likelihood.log_prob, x)
print(f"bits per dimension {bits.mean():.2f}, {likelihood.nfe} evaluations")
assert bits.mean() < 7

# %% [markdown]
# ## Inpaint
#
# The lower half is hidden; three completions of each image.

# %%
truth = model.scaling.to_model(held_out[:4])
operator = inverse.Mask(inverse.MASKS["lower_half"](jax.random.key(3), model.shape), model.shape)
y = jax.vmap(operator.forward)(truth)
out = inverse.solve(
    jax.random.key(4), model.sde, model.score_fn, operator, y, method=inverse.DDNM(), samples=3, steps=40
)
hidden = 1 - np.broadcast_to(operator.mask, model.shape)
error = lambda images: float(np.sqrt(np.sum(hidden * np.square(images - truth)) / (len(truth) * hidden.sum())))
print(f"error in the hidden half: completions' mean {error(out.mean):.2f}, grey {error(np.zeros_like(truth)):.2f}")
assert error(out.mean) < error(np.zeros_like(truth)) and out.residual.max() < 0.05
rows = np.concatenate([truth[None], np.asarray(y)[None], out.x])
sheet = report.images.grid(np.asarray(model.scaling.to_raw(rows.reshape(-1, *model.shape))), columns=len(truth))
report.images.save_png(FIGURES / "checkpoint_inpainting.png", report.images.enlarge(sheet, 300))
Image.open(FIGURES / "checkpoint_inpainting.png")

# %% [markdown]
# ![inpainting](../images/checkpoint_inpainting.png)
#
# From the top: the image, what the model was shown, three completions.
#
# ## Keep it
#
# `save` writes one safetensors file of this library, the very thing that `python launch.py --mode=convert
# --source=FILE --workdir=FOLDER` leaves in a folder; `--mode=sample`, `likelihood`, `inverse` and `evaluate` then work
# on that folder.

# %%
path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
model.save(path)
again = convert.load(path)
same = jax.tree.map(lambda a, b: bool((a == b).all()), model.params, again.params)
assert all(jax.tree.leaves(same)) and again.shape == model.shape

# %% [markdown]
# Formats and their options: [networks and checkpoints](../networks.md). Published figures and the configs that stand
# for them: [benchmarks](../benchmarks.md).
