"""DDPM on LSUN's bedrooms at 256 x 256, as Ho et al. trained it.

    python launch.py --config=configs/score_sde/vp/ddpm/bedroom.py

Published: no figure in this paper.
Needs: the data `lsun` (docs/data.md).

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, appendix H.
"""

from ml_collections import ConfigDict

from configs.score_sde import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.large("lsun", category="bedroom")
    common.ddpm(config, multipliers=(1, 1, 2, 2, 4, 4), dropout=0.0)
    common.vp_levels(config)
    config.optimizer.learning_rate = 2e-5
    return finish(config, variant)
