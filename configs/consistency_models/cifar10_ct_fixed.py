"""Consistency training on CIFAR-10 with 120 noise levels and one decay of the target, with the distance l2.

    python launch.py --config=configs/consistency_models/cifar10_ct_fixed.py

Published: in a figure alone, behind configs/consistency_models/cifar10_ct_adaptive.py, with the distance LPIPS, whose
weights are not part of this library.
Needs: the data `cifar10` (docs/data.md).

References:
    Song, Dhariwal, Chen, Sutskever, Consistency Models, 2023, algorithm 3, figure 3 and appendix C.
"""

from ml_collections import ConfigDict

from configs.consistency_models import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.from_data(common.base("training", learning_rate=4e-4))
    config.consistency.levels = "fixed"
    config.consistency.last = 120
    config.consistency.target = "average"
    config.consistency.target_rate = 0.99
    config.consistency.distance = "l2"
    return finish(config, variant)
