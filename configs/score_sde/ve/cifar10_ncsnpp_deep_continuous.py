"""Continuous NCSN++ of doubled depth on CIFAR-10, variance-exploding: the paper's best samples.

    python launch.py --config=configs/score_sde/ve/cifar10_ncsnpp_deep_continuous.py

Published: FID 2.20, Inception score 9.89 (the best of the checkpoints).
Needs: the data `cifar10` (docs/data.md).

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, table 3.
"""

from ml_collections import ConfigDict

from configs.score_sde import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.cifar10(steps=950_001)
    common.ncsnpp(config, blocks=8)
    common.ve(config, sigma_max=50.0, snr=0.16)
    config.published.fid = 2.2
    config.published.inception_score = 9.89
    return finish(config, variant)
