"""Consistency distillation on CIFAR-10 with the distance l2, of 18 noise levels.

    python launch.py --config=configs/consistency_models/cifar10_cd_l2.py

Published: FID 3.55 in one step, 2.93 in two (`--config.sampling.steps=2`), with the distance LPIPS, whose weights are
not part of this library; the paper shows in a figure that l2 is behind it, so no figure of `config.published` is set.
Needs: the data `cifar10` (docs/data.md), and the teacher that configs/consistency_models/cifar10_edm.py trains.

References:
    Song, Dhariwal, Chen, Sutskever, Consistency Models, 2023, algorithm 2, table 1, figure 3 and appendix C.
"""

from ml_collections import ConfigDict

from configs.consistency_models import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.distilled(common.base("distillation", learning_rate=4e-4))
    config.consistency.levels = "fixed"
    config.consistency.last = 18
    config.consistency.distance = "l2"
    config.consistency.target = "student"
    config.consistency.teacher_step = "heun"
    return finish(config, variant)
