"""Continuous DDPM on CIFAR-10, variance-preserving.

    python launch.py --config=configs/score_sde/vp/ddpm/cifar10_continuous.py

Published: 3.21 bits per dimension and FID 3.69 with the probability-flow ODE.
Needs: the data `cifar10` (docs/data.md).

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, table 2.
"""

from ml_collections import ConfigDict

from configs.score_sde import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.cifar10()
    common.ddpm(config)
    common.vp(config)
    config.published.bits_per_dim = 3.21
    return finish(config, variant)
