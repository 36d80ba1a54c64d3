"""DDPM on MNIST: the simple loss at a thousand noise levels, and ancestral sampling back through all of them.

    python launch.py --config=configs/ddpm.py --workdir=runs/ddpm

The linear rates of the paper, whose thousand levels are the schedule `discrete_vp`; a network that predicts the noise
and is fed the time, of which a thousandth is one level. A thousand evaluations a sample, each of them through one
small U-Net: `--config.sampling.steps=100` draws through every tenth level.

References:
    Ho, Jain, Abbeel, Denoising Diffusion Probabilistic Models, 2020, eq. 14, algorithms 1 and 2.
"""

from ml_collections import ConfigDict

from configs.default import get_config as get_default
from configs.default import shrink


def get_config(variant: str = "full") -> ConfigDict:
    if variant not in ("full", "smoke"):
        raise ValueError(f"the variants of configs/ddpm.py are full and smoke, got {variant!r}")
    config = get_default()
    config.data.name = "mnist"
    config.sde.name = "vp"
    config.sde.t_max = 1.004  # where the noisiest level of the thousand lies

    config.network.name = "unet"
    config.network.channels = 24
    config.network.multipliers = (1, 2, 3)
    config.network.blocks = 1
    config.network.attention = ()
    config.network.dropout = 0.0
    config.network.patch = 2
    config.network.label_scale = 1000.0
    config.network.resampling = "conv"
    config.network.skip_scale = 1.0
    config.network.group_size = 1

    config.prediction.name = "noise"
    config.weighting.name = "noise"
    config.times.name = "levels"
    config.times.levels = 1000
    config.times.schedule = "discrete_vp"
    config.times.quantiles = "independent"

    config.optimizer.learning_rate = 1e-3
    config.train.batch_size = 64
    config.train.steps = 4000
    config.train.ema_rate = 0.999

    config.sampling.process = "reverse_sde"
    config.sampling.solver = "ancestral"
    config.sampling.variance = "large"
    config.sampling.schedule = "discrete_vp"
    config.sampling.steps = 999  # and a last evaluation, which denoises
    config.sampling.count = 100
    config.likelihood.data_scale = 0.6

    if variant == "smoke":
        shrink(config)
    return config
