"""NCSN with all of NCSNv2's techniques but its network (1, 2, 4 and 5) on CIFAR-10.

    python launch.py --config=configs/score_sde/ve/ncsn/cifar10_1245.py

Published: no figure.
Needs: the data `cifar10` (docs/data.md).

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, appendix H.
"""

from ml_collections import ConfigDict

from configs.score_sde import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.cifar10()
    common.ncsn(config, levels=232)
    common.langevin(config, sigma_max=50.0, levels=232, snr=0.176, corrector_steps=5)
    config.train.ema_rate = 0.999
    return finish(config, variant)
