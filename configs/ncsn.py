"""NCSN: a network told the index of one of a few noise levels, sampled by annealed Langevin dynamics.

    python launch.py --config=configs/ncsn.py                8x8 digits
    python launch.py --config=configs/ncsn.py:mnist          MNIST

The paper's ten levels from 1 to 0.01 for images in [0, 1], its 100 Langevin steps a level with step size 2e-5 at the
smallest (a signal-to-noise ratio of 0.316), no final denoising; a narrow network.

References:
    Song and Ermon, Generative Modeling by Estimating Gradients of the Data Distribution, 2019, section 4, appendix B.
"""

from ml_collections import ConfigDict

from configs.default import get_config as get_default
from configs.default import shrink as shrink_all


def get_config(variant: str = "full") -> ConfigDict:
    if variant not in ("full", "mnist", "smoke"):
        raise ValueError(f"the variants of configs/ncsn.py are full, mnist and smoke, got {variant!r}")
    config = get_default()
    config.data.name = "mnist" if variant == "mnist" else "digits"
    config.data.low = 0.0
    levels(config, sigma_max=1.0, count=10)

    config.network.name = "ncsn"
    config.network.channels = 16
    config.network.levels = 10

    config.optimizer.learning_rate = 1e-3
    config.train.batch_size = 128
    config.train.steps = 6000
    config.train.ema_rate = 0.999

    config.sampling.snr = 0.316
    config.sampling.corrector_steps = 100
    config.sampling.final = "none"

    if variant == "smoke":
        shrink(config)
        config.sampling.corrector_steps = 3
    return config


def levels(config: ConfigDict, sigma_max: float, count: int) -> None:
    """Set `count` geometric noise levels from `sigma_max` to 0.01 to be trained at and sampled through."""
    config.sde.name = "ve"
    config.sde.sigma_min = 0.01
    config.sde.sigma_max = sigma_max
    config.sde.t_min = 0.0
    config.prediction.name = "level_score"
    config.prediction.sigma_begin = sigma_max
    config.prediction.sigma_end = 0.01
    config.prediction.levels = count
    config.times.name = "levels"
    config.times.levels = count
    config.sampling.process = "reverse_sde"
    config.sampling.solver = "annealed_langevin"
    config.sampling.schedule = "langevin_levels"
    config.sampling.steps = count
    config.sampling.count = 100


def shrink(config: ConfigDict) -> None:
    """Make every expensive field small."""
    shrink_all(config)
    config.network.channels = 4
    config.network.multipliers = (1, 2)
    config.network.dilations = (1, 1)
    config.sampling.count = 16
    config.sampling.batch_size = 16
    config.sampling.steps = config.times.levels
    config.likelihood.count = 4
    config.likelihood.batch_size = 4
    config.likelihood.rtol = 0.1
    config.likelihood.atol = 0.1
    config.inverse.count = 2
