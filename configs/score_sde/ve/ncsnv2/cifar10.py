"""NCSNv2 on CIFAR-10.

    python launch.py --config=configs/score_sde/ve/ncsnv2/cifar10.py

Published: FID 10.87, Inception score 8.40.
Needs: the data `cifar10` (docs/data.md).

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, appendix H.
"""

from ml_collections import ConfigDict

from configs.score_sde import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.cifar10()
    common.ncsnv2(config, "ncsnv2", sigma_max=50.0, levels=232)
    common.langevin(config, sigma_max=50.0, levels=232, snr=0.176, corrector_steps=5)
    config.published.fid = 10.87
    config.published.inception_score = 8.4
    return finish(config, variant)
