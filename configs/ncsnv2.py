"""NCSNv2: noise levels and Langevin steps from the data, an unconditional network divided by the noise level.

    python launch.py --config=configs/ncsnv2.py              8x8 digits
    python launch.py --config=configs/ncsnv2.py:mnist        MNIST

The numbers are those of `python launch.py --mode=suggest --config=configs/ncsnv2.py[:mnist]`: the largest level is the
largest distance between two images, neighbouring levels overlap by one half, and five Langevin steps a level keep its
variance. Parameters are averaged, and a last step denoises.

References:
    Song and Ermon, Improved Techniques for Training Score-Based Generative Models, 2020, techniques 1 to 5.
"""

from ml_collections import ConfigDict

from configs.default import get_config as get_default
from configs.ncsn import levels, shrink

# What mode `suggest` finds: largest level, number of levels, signal-to-noise ratio of five Langevin steps.
SUGGESTED = {"digits": (4.532, 21, 0.346), "mnist": (15.77, 94, 0.236)}


def get_config(variant: str = "full") -> ConfigDict:
    if variant not in ("full", "mnist", "smoke"):
        raise ValueError(f"the variants of configs/ncsnv2.py are full, mnist and smoke, got {variant!r}")
    config = get_default()
    config.data.name = "mnist" if variant == "mnist" else "digits"
    config.data.low = 0.0
    sigma_max, count, snr = SUGGESTED[config.data.name]
    levels(config, sigma_max, count)

    config.network.name = "ncsnv2"
    config.network.channels = 16
    config.network.sigma_begin = sigma_max
    config.network.sigma_end = 0.01
    config.network.levels = count

    config.optimizer.learning_rate = 1e-3
    config.train.batch_size = 128
    config.train.steps = 6000
    config.train.ema_rate = 0.999

    config.sampling.snr = snr
    config.sampling.corrector_steps = 5
    if variant == "smoke":
        shrink(config)
        config.sampling.corrector_steps = 1
    return config
