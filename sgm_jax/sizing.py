"""Sizes of a first experiment on one's own images: network, noise levels and batch, from the data and the machine."""

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from sgm_jax.suggest import suggest

BYTES = 4
KEPT = 18  # feature maps that a residual block takes memory for in a training step: measured 17 at 32 pixels


@dataclasses.dataclass(frozen=True)
class Machine:
    """What an experiment runs on.

    Args:
        platform: jax's name of the devices' kind: "cpu", "gpu", "tpu".
        memory: bytes of all devices together.
    """

    platform: str
    memory: int


@dataclasses.dataclass(frozen=True)
class Scale:
    """What a machine can afford.

    Args:
        side: height of the feature maps at the first level, at most; larger images enter as patches.
        channels: of the first level.
        multipliers: channels of each level, of as many as the feature maps allow.
        blocks: residual blocks a level.
        attention: heights of the feature maps that get attention.
        batch_size: examples a step, at most.
        steps: updates.
    """

    side: int
    channels: int
    multipliers: tuple[int, ...]
    blocks: int
    attention: tuple[int, ...]
    batch_size: int
    steps: int


PROCESSOR = Scale(16, 24, (1, 2, 3), 1, (), 32, 4_000)
ACCELERATOR = Scale(64, 128, (1, 2, 2, 2), 2, (16,), 256, 200_000)


def machine(devices: Sequence[Any]) -> Machine:
    """Describe jax's devices; a processor's memory is the host's."""
    if devices[0].platform == "cpu":
        return Machine("cpu", os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    limits = [(device.memory_stats() or {}).get("bytes_limit", 2**34) for device in devices]
    return Machine(devices[0].platform, sum(limits))


def choose_sizes(data: Float[np.ndarray, "n ..."], count: int, machine: Machine) -> dict[str, Any]:
    """Choose what an EDM-preconditioned U-Net on these images needs, as fields of a config.

    The largest noise level is the largest distance between two images; the network has as many levels as the images
    can be halved, on patches where they are large for the machine; the batch is the largest power of two whose feature
    maps take at most half of the memory.

    Args:
        data: images [n, h, w, c] in the model's range, some of them.
        count: how many there are.
        machine: what it runs on.

    Raises:
        ValueError: if the data are no images, or too few or too much alike to tell their scale.

    References:
        Song and Ermon, Improved Techniques for Training Score-Based Generative Models, 2020, technique 1.
        Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, table 1.
        Hoogeboom et al., Simple Diffusion, 2023, section 3.1: more noise for larger images.
    """
    if data.ndim != 4:
        raise ValueError(f"sizing 'data' needs images [h, w, c], got data of shape {data.shape[1:]}")
    scale = PROCESSOR if machine.platform == "cpu" else ACCELERATOR
    side = max(data.shape[1:3])
    patch = max(1, 2 ** math.ceil(math.log2(side / scale.side)))
    first = math.ceil(side / patch)
    levels = max(1, min(len(scale.multipliers), int(math.log2(max(first, 4) / 4)) + 1))
    multipliers = scale.multipliers[:levels]
    maps = sum((first / 2**level) ** 2 * factor for level, factor in enumerate(multipliers))
    example = BYTES * KEPT * (2 * scale.blocks + 1) * scale.channels * maps
    batch = min(scale.batch_size, count, max(1, machine.memory / 2 / example))
    suggestion = suggest(data)
    deviation = round(suggestion.sigma_data, 3)
    return {
        "network.patch": patch,
        "network.channels": scale.channels,
        "network.multipliers": multipliers,
        "network.blocks": scale.blocks,
        "network.attention": scale.attention,
        "sde.t_max": round(suggestion.sigma_max, 2),
        "sampling.s_max": round(suggestion.sigma_max, 2),
        "prediction.sigma_data": deviation,
        "weighting.sigma_data": deviation,
        "likelihood.data_scale": deviation,
        "times.mean": round(-1.2 + math.log(max(side, 64) / 64), 3),
        "train.batch_size": 2 ** int(math.log2(batch)),
        "train.steps": scale.steps,
    }
