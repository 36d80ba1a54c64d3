"""Continuous NCSN++ on FFHQ at 1024 x 1024, variance-exploding.

    python launch.py --config=configs/score_sde/ve/ffhq_ncsnpp_continuous.py

Published: samples, no figure.
Needs: the data `ffhq` (docs/data.md).

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, appendix H.
"""

from ml_collections import ConfigDict

from configs.score_sde import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.huge("ffhq")
    common.ncsnpp_1024(config)
    common.ve(config, sigma_max=1348.0, snr=0.15, steps=2000)
    config.train.ema_rate = 0.9999
    config.train.reduction = "mean"
    return finish(config, variant)
