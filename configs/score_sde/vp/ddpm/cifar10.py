"""DDPM on CIFAR-10, as Ho et al. trained it.

    python launch.py --config=configs/score_sde/vp/ddpm/cifar10.py

Published: 3.28 bits per dimension and FID 3.37 with the probability-flow ODE; FID 3.24 by ancestral sampling.
Needs: the data `cifar10` (docs/data.md).

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, tables 1 and 2.
"""

from ml_collections import ConfigDict

from configs.score_sde import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.cifar10()
    common.ddpm(config)
    common.vp_levels(config)
    config.published.bits_per_dim = 3.28
    config.published.fid = 3.24
    return finish(config, variant)
