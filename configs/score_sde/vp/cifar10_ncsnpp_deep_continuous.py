"""Continuous NCSN++ of doubled depth on CIFAR-10, variance-preserving.

    python launch.py --config=configs/score_sde/vp/cifar10_ncsnpp_deep_continuous.py

Published: no figure.
Needs: the data `cifar10` (docs/data.md).

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, appendix H.
"""

from ml_collections import ConfigDict

from configs.score_sde import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.cifar10(steps=950_001)
    common.ncsnpp(config, blocks=8)
    common.vp(config)
    return finish(config, variant)
