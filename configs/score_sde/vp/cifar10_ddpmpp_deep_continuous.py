"""Continuous DDPM++ of doubled depth on CIFAR-10, variance-preserving.

    python launch.py --config=configs/score_sde/vp/cifar10_ddpmpp_deep_continuous.py

Published: 3.13 bits per dimension and FID 3.08 with the probability-flow ODE; FID 2.41 and Inception score 9.68 by
predictor-corrector (the best of the checkpoints).
Needs: the data `cifar10` (docs/data.md).

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, tables 2 and 3.
"""

from ml_collections import ConfigDict

from configs.score_sde import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.cifar10(steps=950_001)
    common.ddpmpp(config, blocks=8)
    common.vp(config)
    config.published.bits_per_dim = 3.13
    config.published.fid = 2.41
    config.published.inception_score = 9.68
    return finish(config, variant)
