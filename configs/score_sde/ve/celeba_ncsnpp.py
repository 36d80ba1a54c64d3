"""NCSN++ on CelebA at 64 x 64, variance-exploding, with a thousand levels.

    python launch.py --config=configs/score_sde/ve/celeba_ncsnpp.py

Published: FID about 2.5, by the author in an issue of the repository.
Needs: the data `celeba` (docs/data.md).

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, appendix H.
"""

from ml_collections import ConfigDict

from configs.score_sde import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.celeba()
    common.ncsnpp(config)
    common.ve_levels(config, sigma_max=90.0, snr=0.17)
    config.published.fid = 2.5
    return finish(config, variant)
