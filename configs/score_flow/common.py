"""What the experiments of ScoreFlow share: score_sde's training of DDPM++, for the likelihood that the ODE gives.

Neither weighting is set, as there; each config says how to set it. The ODE ends at the process's own `t_min`.

References:
    Song, Durkan, Murray, Ermon, Maximum Likelihood Training of Score-Based Diffusion Models, 2021.
"""

from ml_collections import ConfigDict

from configs.score_sde import common
from configs.score_sde.common import ddpmpp as ddpmpp


def cifar10(steps: int = 1_300_001) -> ConfigDict:
    """Return the training on CIFAR-10."""
    return common.cifar10(steps)


def imagenet32(steps: int = 1_300_001) -> ConfigDict:
    """Return the training on ImageNet, made 32 x 32."""
    config = common.cifar10(steps)
    config.data.name = "downsampled_imagenet"
    config.data.size = 32
    config.train.augmentation = "none"
    config.likelihood.repeats = 1
    return config


def vp(config: ConfigDict) -> None:
    """Set the variance-preserving process, from the time 1e-5 on."""
    common.vp(config)
    _ode(config)


def subvp(config: ConfigDict) -> None:
    """Set the sub-VP process, from the time 1e-2 on."""
    common.subvp(config)
    config.sde.t_min = 1e-2
    _ode(config)


def _ode(config):
    config.sampling.process = "probability_flow"
    config.sampling.solver = "dopri5"
    config.sampling.steps = None
    config.sampling.rtol = config.sampling.atol = 1e-5
    config.sampling.final = "tweedie"
