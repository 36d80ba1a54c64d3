"""Continuous NCSN++ on CIFAR-10, variance-exploding.

    python launch.py --config=configs/score_sde/ve/cifar10_ncsnpp_continuous.py

Published: FID 2.38, Inception score 9.83 (the best of the checkpoints).
Needs: the data `cifar10` (docs/data.md).

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, table 3.
"""

from ml_collections import ConfigDict

from configs.score_sde import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.cifar10()
    common.ncsnpp(config)
    common.ve(config, sigma_max=50.0, snr=0.16)
    config.published.fid = 2.38
    config.published.inception_score = 9.83
    return finish(config, variant)
