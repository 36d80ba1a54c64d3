"""The teacher of the consistency models on CIFAR-10: EDM's NCSN++ without its augmentation.

    python launch.py --config=configs/consistency_models/cifar10_edm.py

Published: FID 2.04, inception score 9.84 with 35 evaluations.
Needs: the data `cifar10` (docs/data.md).

References:
    Song, Dhariwal, Chen, Sutskever, Consistency Models, 2023, table 1 and appendix C.
"""

from ml_collections import ConfigDict

from configs.consistency_models import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.diffusion()
    config.published.fid = 2.04
    config.published.inception_score = 9.84
    return finish(config, variant)
