"""A small classifier of images, trained in seconds: the eyes of the evaluation where no published one fits."""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Shaped

from sgm_jax.networks.resampling import downsample, space_to_depth
from sgm_jax.shapes import PRNGKey

SHIFT = 2


class SmallCNN(nn.Module):
    """Map images to features and class logits: two convolutions, each followed by pooling, and a dense layer."""

    classes: int
    features: int = 64

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> tuple[Float[Array, "b features"], Float[Array, "b classes"]]:
        """Return features and logits of images whose values lie in [0, 1]."""
        # Patches of 2 x 2 enter as channels, and means pool: strided convolutions and the gradient of maxima
        # are what costs on a CPU.
        x = nn.relu(nn.Conv(32, (3, 3))(space_to_depth(x, 2)))
        x = nn.relu(nn.Conv(64, (3, 3))(downsample(x)))
        features = nn.relu(nn.Dense(self.features)(x.reshape(x.shape[0], -1)))
        return features, nn.Dense(self.classes)(features)


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A trained classifier.

    Attributes:
        params: its parameters.
        classes: number of classes.
        features: length of its features.
    """

    params: Any
    classes: int
    features: int = 64

    def __call__(
        self, images: Shaped[np.ndarray, "n h w c"], batch_size: int = 500
    ) -> tuple[Float[np.ndarray, "n features"], Float[np.ndarray, "n classes"]]:
        """Return features [n, features] and class probabilities [n, classes] of uint8 images.

        Raises:
            ValueError: if `images` are no uint8 array [n, h, w, c].
        """
        _check_images(images)
        # Batches of one size compile once; the last is filled up and cut again.
        outputs = []
        for start in range(0, len(images), batch_size):
            part = images[start : start + batch_size]
            filled = np.concatenate([part, np.zeros((batch_size - len(part), *part.shape[1:]), part.dtype)])
            features, probabilities = _forward(self.params, jnp.asarray(filled), self.classes, self.features)
            outputs.append((np.asarray(features)[: len(part)], np.asarray(probabilities)[: len(part)]))
        features, probabilities = (np.concatenate(column) for column in zip(*outputs, strict=True))
        return features, probabilities


def train_classifier(
    key: PRNGKey,
    images: Shaped[np.ndarray, "n h w c"],
    labels: Int[np.ndarray, " n"],
    *,
    classes: int = 10,
    features: int = 64,
    steps: int = 600,
    batch_size: int = 100,
    learning_rate: float = 3e-3,
) -> Classifier:
    """Train a small classifier with Adam on images shifted at random by up to two pixels.

    Args:
        key: determines the result.
        images: uint8 [n, h, w, c].
        labels: integers in `[0, classes)`, [n].
        classes: number of classes.
        features: length of the features, the last layer but one.
        steps: optimiser steps, the learning rate falling to zero along half a cosine.
        batch_size: images a step, drawn without replacement within an epoch.
        learning_rate: the highest, reached after a tenth of the steps.

    Raises:
        ValueError: if `images` are no uint8 array [n, h, w, c], a label is out of range, or there are fewer
            images than `batch_size`.
    """
    _check_images(images)
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels must lie in [0, {classes}), got {labels.min()} to {labels.max()}")
    if len(images) < batch_size:
        raise ValueError(f"images must be at least batch_size={batch_size} many, got {len(images)}")
    init_key, order_key, shift_key = jax.random.split(key, 3)
    network = SmallCNN(classes, features)
    params = jax.jit(network.init)(init_key, jnp.zeros((1, *images.shape[1:])))
    schedule = optax.warmup_cosine_decay_schedule(0.0, learning_rate, steps // 10, steps)
    optimizer = optax.adamw(schedule, weight_decay=0.02)

    per_epoch = len(images) // batch_size
    epoch_keys = jax.random.split(order_key, -(-steps // per_epoch))
    orders = jax.vmap(lambda k: jax.random.permutation(k, len(images))[: per_epoch * batch_size])(epoch_keys)
    orders = orders.reshape(-1, per_epoch, batch_size)
    padded = jnp.pad(jnp.asarray(images), ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)))
    targets = jnp.asarray(labels)

    def loss(params, x, y):
        _, logits = network.apply(params, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def draw(step):
        index = orders[step // per_epoch, step % per_epoch]
        shifts = jax.random.randint(jax.random.fold_in(shift_key, step), (batch_size, 2), 0, 2 * SHIFT + 1)
        crop = lambda image, at: jax.lax.dynamic_slice(image, (at[0], at[1], 0), images.shape[1:])  # noqa: E731
        return jax.vmap(crop)(padded[index], shifts).astype(jnp.float32) / 255, targets[index]

    # A Python loop, not `lax.scan`: XLA's CPU backend has no fast gradient of a convolution inside a loop.
    @functools.partial(jax.jit, donate_argnums=0)
    def train_step(carry, step):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params, *draw(step)), state, params)
        return optax.apply_updates(params, updates), state

    carry = (params, optimizer.init(params))
    for step in range(steps):
        carry = train_step(carry, step)
    return Classifier(jax.block_until_ready(carry[0]), classes, features)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _forward(params, images, classes, features):
    hidden, logits = SmallCNN(classes, features).apply(params, images.astype(jnp.float32) / 255)
    return hidden, jax.nn.softmax(jnp.asarray(logits))


def _check_images(images):
    if images.ndim != 4 or images.dtype != np.uint8:
        raise ValueError(f"images must be a uint8 array [n, h, w, c], got {images.dtype} {images.shape}")
