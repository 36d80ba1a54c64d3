"""DDPM++ on CIFAR-10, with DDPM's thousand levels and ancestral sampling.

    python launch.py --config=configs/score_sde/vp/cifar10_ddpmpp.py

Published: FID 2.78, Inception score 9.64 (the best of the checkpoints).
Needs: the data `cifar10` (docs/data.md).

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, table 3.
"""

from ml_collections import ConfigDict

from configs.score_sde import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.cifar10()
    common.ddpmpp(config)
    common.vp_levels(config)
    config.published.fid = 2.78
    config.published.inception_score = 9.64
    return finish(config, variant)
