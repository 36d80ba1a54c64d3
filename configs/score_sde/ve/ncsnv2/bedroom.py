"""NCSNv2 on LSUN's bedrooms at 128 x 128.

    python launch.py --config=configs/score_sde/ve/ncsnv2/bedroom.py

Published: no figure.
Needs: the data `lsun` (docs/data.md).

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, appendix H.
"""

from ml_collections import ConfigDict

from configs.score_sde import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.large("lsun", category="bedroom", size=128)
    config.train.batch_size = 128
    common.ncsnv2(config, "ncsnv2_deeper", sigma_max=190.0, levels=1086)
    common.langevin(config, sigma_max=190.0, levels=1086, snr=0.095, corrector_steps=3)
    config.train.ema_rate = 0.9999
    return finish(config, variant)
