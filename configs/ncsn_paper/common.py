"""What the experiments of the papers on NCSN and NCSNv2 share.

References:
    Song and Ermon, Generative Modeling by Estimating Gradients of the Data Distribution, 2019.
    Song and Ermon, Improved Techniques for Training Score-Based Generative Models, 2020.
"""

from ml_collections import ConfigDict

from configs.score_sde import common


def ncsn(name: str, *, size: int | None = None, channels: int = 128) -> ConfigDict:
    """Return NCSN's training and sampling, with `channels` channels."""
    config = common.base(name, size, steps=200_001)
    common.ncsn(config, levels=10)
    common.langevin(config, sigma_max=1.0, levels=10, snr=0.316, corrector_steps=100)
    config.network.channels = channels
    config.train.dequantisation = "uniform"
    config.train.ema_rate = 0.0
    return config


def ncsnv2(
    name: str,
    *,
    size: int | None = None,
    sigma_max: float,
    levels: int,
    step_size: float,
    corrector_steps: int,
    steps: int,
) -> ConfigDict:
    """Return NCSNv2's training and sampling; the step size is that of Langevin dynamics at the smallest level, 0.01."""
    config = common.base(name, size, steps)
    common.ncsnv2(config, "ncsnv2", sigma_max, levels)
    snr = (step_size / 2) ** 0.5 / 0.01
    common.langevin(config, sigma_max, levels=levels, snr=snr, corrector_steps=corrector_steps)
    config.sampling.final = "tweedie"
    return config
