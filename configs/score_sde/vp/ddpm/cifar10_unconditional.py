"""DDPM on CIFAR-10 by a network that is not told of the noise.

    python launch.py --config=configs/score_sde/vp/ddpm/cifar10_unconditional.py

Published: no figure.
Needs: the data `cifar10` (docs/data.md).

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, appendix H.
"""

from ml_collections import ConfigDict

from configs.score_sde import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.cifar10()
    common.ddpm(config)
    config.network.embedding = "none"
    common.vp_levels(config)
    return finish(config, variant)
