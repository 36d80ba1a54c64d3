"""Consistency training on CIFAR-10 whose noise levels grow from 2 to 150, with the distance l2.

    python launch.py --config=configs/consistency_models/cifar10_ct_adaptive.py

Published: FID 8.70, inception score 8.49 in one step, FID 5.83 in two (`--config.sampling.steps=2`), with the distance
LPIPS, whose weights are not part of this library, so no figure of `config.published` is set. The learning rate is the
paper's; its published config has 2e-4.
Needs: the data `cifar10` (docs/data.md).

References:
    Song, Dhariwal, Chen, Sutskever, Consistency Models, 2023, algorithm 3, table 1 and appendix C.
"""

from ml_collections import ConfigDict

from configs.consistency_models import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.from_data(common.base("training", learning_rate=4e-4))
    config.consistency.levels = "progressive"
    config.consistency.first = 2
    config.consistency.last = 150
    config.consistency.target = "progressive"
    config.consistency.target_rate = 0.9
    config.consistency.distance = "l2"
    return finish(config, variant)
