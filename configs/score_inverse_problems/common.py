"""What the experiments on medical images share: priors of slices in [0, 1], and measurements.

References:
    Song et al., Solving Inverse Problems in Medical Imaging with Score-Based Generative Models, 2022.
"""

from ml_collections import ConfigDict

from configs.score_sde import common


def prior(
    size: int, channels: int, multipliers: tuple[int, ...], blocks: int, attention: int, sigma_max: float
) -> ConfigDict:
    """Return the training of NCSN++ for large images on slices of one's own, made `size` pixels high and wide."""
    config = common.base("medical", size, steps=2_400_001)
    common.ncsnpp_large(config, channels, multipliers, blocks)
    common.ve(config, sigma_max=sigma_max, snr=0.16)
    config.network.attention = (attention,)
    config.train.augmentation = "none"
    config.train.batch_size = 64
    config.train.checkpoint_every = 5000
    config.sampling.count = 128
    config.sampling.batch_size = 16
    config.inverse.method = "projection"
    config.inverse.sampler = "predictor_corrector"
    config.inverse.steps = 1000
    return config


def brats() -> ConfigDict:
    """Return the prior of 240 x 240 magnetic resonance images (BraTS)."""
    return prior(240, 32, (1, 1, 2, 2, 2), 2, attention=30, sigma_max=128.0)


def lidc() -> ConfigDict:
    """Return the prior of 320 x 320 computed tomographies (LIDC)."""
    return prior(320, 32, (1, 1, 2, 2, 2, 2, 2), 2, attention=20, sigma_max=128.0)


def lidc_128() -> ConfigDict:
    """Return the prior of 128 x 128 computed tomographies (LIDC)."""
    return prior(128, 64, (1, 1, 2, 2, 2, 2), 2, attention=16, sigma_max=55.0)


def ldct() -> ConfigDict:
    """Return the prior of 512 x 512 computed tomographies (LDCT)."""
    config = prior(512, 16, (1, 2, 4, 8, 16, 32, 32), 1, attention=16, sigma_max=220.0)
    config.train.batch_size = 16
    config.train.ema_rate = 0.9999
    return config


def mri(config: ConfigDict, *, snr: float) -> None:
    """Set the measurement of an eighth of the lines of frequencies, and the paper's method."""
    config.inverse.task = "mri"
    config.inverse.lines = "equispaced"
    config.inverse.acceleration = 8.0
    config.inverse.strength = 1.0
    config.inverse.snr = snr


def likelihood(config: ConfigDict, *, rate: float) -> None:
    """Replace the method by a likelihood beside the score, its deviation `rate` times the noise level."""
    config.inverse.method = "annealed_langevin"
    config.inverse.strength = None
    config.inverse.rate = rate


def langevin(config: ConfigDict) -> None:
    """Replace the sampler by three Langevin steps at each of 700 levels."""
    config.inverse.sampler = "langevin"
    config.inverse.steps = 700
    config.inverse.corrector_steps = 3


def ct(config: ConfigDict, *, strength: float, snr: float) -> None:
    """Set the measurement of beams from 23 directions."""
    config.inverse.task = "ct"
    config.inverse.angles = 23
    config.inverse.strength = strength
    config.inverse.snr = snr
