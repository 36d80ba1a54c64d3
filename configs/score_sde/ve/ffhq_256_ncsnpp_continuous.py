"""Continuous NCSN++ on FFHQ at 256 x 256, variance-exploding.

    python launch.py --config=configs/score_sde/ve/ffhq_256_ncsnpp_continuous.py

Published: samples, no figure.
Needs: the data `ffhq` (docs/data.md).

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, appendix H.
"""

from ml_collections import ConfigDict

from configs.score_sde import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.large("ffhq")
    common.ncsnpp_256(config)
    common.ve(config, sigma_max=348.0, snr=0.075, steps=2000)
    return finish(config, variant)
