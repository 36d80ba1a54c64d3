"""Recorded references, and our networks with the weights they were recorded with."""

import pathlib
import runpy

import flax.linen as nn
import jax.numpy as jnp

from sgm_jax.convert import score_sde_pytorch

DATA = pathlib.Path(__file__).parent / "data"


def load(name):
    """Read a file of `tests/data`: (state_dict of the redrawn weights, the other arrays, the config)."""
    return runpy.run_path(str(DATA / "weights.py"))["load"](DATA / name)


def score_sde(name):
    """Return one of score_sde's recorded networks, converted, and the recorded arrays."""
    state, arrays, config = load(name)
    return score_sde_pytorch(state, config), arrays


class StandIn(nn.Module):
    """A network that costs nothing, to tell what is around networks: its output shows all that it is given."""

    @nn.compact
    def __call__(self, noise_label, x, label=None, augment=None, *, deterministic=True):
        offset = 0.0 if label is None else 0.1 * label
        return jnp.sin(noise_label + offset)[:, None, None, None] * x + 0.3
