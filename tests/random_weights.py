"""Weights for tests of networks: every one random, so that no zero-initialised layer hides anything."""

import jax
import jax.numpy as jnp
import numpy as np


def randomised(network, *args, size=0.2):
    """Draw every weight of `network` from a normal of deviation `size`, around one for the scales of norms."""
    shapes = jax.eval_shape(network.init, jax.random.key(0), *args)
    generator = np.random.default_rng(0)

    def draw(path, leaf):
        offset = 1.0 if jax.tree_util.keystr(path).endswith("['scale']") else 0.0
        return jnp.asarray(offset + size * generator.standard_normal(leaf.shape), leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def compiled(function):
    """Jit without optimising, since compiling is what takes the time with small networks."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})
