"""Continuous DDPM++ on CIFAR-10, variance-preserving.

    python launch.py --config=configs/score_sde/vp/cifar10_ddpmpp_continuous.py

Published: 3.16 bits per dimension and FID 3.93 with the probability-flow ODE; FID 2.55 and Inception score 9.58 by
predictor-corrector (the best of the checkpoints).
Needs: the data `cifar10` (docs/data.md).

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, tables 2 and 3.
"""

from ml_collections import ConfigDict

from configs.score_sde import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.cifar10()
    common.ddpmpp(config)
    common.vp(config)
    config.published.bits_per_dim = 3.16
    config.published.fid = 2.55
    config.published.inception_score = 9.58
    return finish(config, variant)
