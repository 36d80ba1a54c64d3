"""NCSNv2 on CelebA at 64 x 64.

    python launch.py --config=configs/score_sde/ve/ncsnv2/celeba.py

Published: no figure in this paper.
Needs: the data `celeba` (docs/data.md).

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, appendix H.
"""

from ml_collections import ConfigDict

from configs.score_sde import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.celeba()
    common.ncsnv2(config, "ncsnv2", sigma_max=90.0, levels=500)
    common.langevin(config, sigma_max=90.0, levels=500, snr=0.128, corrector_steps=5)
    return finish(config, variant)
