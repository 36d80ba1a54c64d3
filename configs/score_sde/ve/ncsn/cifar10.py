"""NCSN on CIFAR-10.

    python launch.py --config=configs/score_sde/ve/ncsn/cifar10.py

Published: FID 25.32, Inception score 8.87.
Needs: the data `cifar10` (docs/data.md).

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, appendix H.
"""

from ml_collections import ConfigDict

from configs.score_sde import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.cifar10()
    common.ncsn(config, levels=10)
    common.langevin(config, sigma_max=1.0, levels=10, snr=0.316, corrector_steps=100)
    config.train.ema_rate = 0.0
    config.published.fid = 25.32
    config.published.inception_score = 8.87
    return finish(config, variant)
