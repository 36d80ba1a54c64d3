"""MNIST digits on two CPU cores in ten minutes: `python launch.py`, or `--config=configs/mnist.py:smoke` for a minute.

A DDPM++ U-Net on 2x2 patches, EDM's preconditioning and noise distribution, 4,500 digits. What it reaches stands in
the README with the command that measures it.

References:
    Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022.
"""

from ml_collections import ConfigDict

from configs.default import get_config as get_default
from configs.default import shrink


def get_config(variant: str = "full") -> ConfigDict:
    if variant not in ("full", "smoke"):
        raise ValueError(f"the variants of configs/mnist.py are full and smoke, got {variant!r}")
    config = get_default()
    config.data.name = "mnist"

    config.sde.name = "edm"
    config.sde.t_min = 0.002
    config.sde.t_max = 80.0

    config.network.name = "unet"
    config.network.channels = 24
    config.network.multipliers = (1, 2, 3)
    config.network.blocks = 1
    config.network.attention = ()
    config.network.dropout = 0.0
    config.network.patch = 2
    config.network.label_scale = 250.0

    config.prediction.name = "edm"
    config.prediction.sigma_data = 0.6
    config.weighting.name = "edm"
    config.weighting.sigma_data = 0.6
    config.times.name = "log_normal"
    config.times.mean = -0.8
    config.times.std = 1.2

    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 0.02
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup = 50
    config.train.batch_size = 32
    config.train.steps = 3600
    config.train.ema_rate = 0.99
    config.train.eval_every = 250
    config.train.checkpoint_every = 500
    config.sampling.s_min = 0.01
    config.sampling.s_max = 20.0
    config.likelihood.data_scale = 0.6

    if variant == "smoke":
        shrink(config)
    return config
