"""NCSN with NCSNv2's levels and steps (techniques 1, 2 and 4) on CelebA at 64 x 64.

    python launch.py --config=configs/score_sde/ve/ncsn/celeba_124.py

Published: no figure.
Needs: the data `celeba` (docs/data.md).

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, appendix H.
"""

from ml_collections import ConfigDict

from configs.score_sde import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.celeba()
    common.ncsn(config, levels=500)
    common.langevin(config, sigma_max=90.0, levels=500, snr=0.128, corrector_steps=5)
    config.train.ema_rate = 0.0
    return finish(config, variant)
