"""InceptionV3 with weights redrawn from their names, as a PyTorch state_dict: what references were recorded with."""

import functools
import zlib

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from sgm_jax.evaluation.inception import InceptionV3


@functools.cache
def random_state_dict():
    """Return a state_dict whose activations neither vanish nor explode, nearly as many names as numbers of layers."""
    shapes = jax.eval_shape(InceptionV3().init, jax.random.key(0), np.zeros((1, 299, 299, 3), np.float32))["params"]
    state = {}
    for path, leaf in flatten_dict(shapes, sep=".").items():
        if not path.endswith(".conv.kernel"):
            continue
        unit, (height, width, inputs, outputs) = path.removesuffix(".conv.kernel"), leaf.shape
        fan_in = height * width * inputs
        state[f"{unit}.conv.weight"] = (2 / fan_in) ** 0.5 * draw(unit, (outputs, inputs, height, width))
        state[f"{unit}.bn.weight"] = 1 + 0.1 * draw(f"{unit}.gamma", outputs)
        for name in ("bias", "running_mean"):
            state[f"{unit}.bn.{name}"] = 0.1 * draw(f"{unit}.{name}", outputs)
        state[f"{unit}.bn.running_var"] = np.exp(0.1 * draw(f"{unit}.var", outputs))
        state[f"{unit}.bn.num_batches_tracked"] = np.array(0)
    state["fc.weight"], state["fc.bias"] = 0.02 * draw("fc", (1008, 2048)), 0.1 * draw("fc.bias", 1008)
    return {name: array if array.dtype == int else array.astype(np.float32) for name, array in state.items()}


def draw(name, shape):
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, np.float32)


def images(count, seed=0, size=32):
    """Return smooth random colour images, uint8."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (count, 8, 8, 3))
    fine = np.kron(coarse, np.ones((1, size // 8, size // 8, 1))) + 20 * generator.standard_normal(
        (count, size, size, 3)
    )
    return np.clip(fine, 0, 255).astype(np.uint8)


def features():
    """Return features of samples [60, 8] and of data [50, 8], and logits of samples [60, 5]."""
    generator = np.random.default_rng(7)
    samples = generator.standard_normal((60, 8)) * np.linspace(0.5, 2, 8) + 0.3
    data, logits = generator.standard_normal((50, 8)), 2 * generator.standard_normal((60, 5))
    return tuple(x.astype(np.float32) for x in (samples, data, logits))
