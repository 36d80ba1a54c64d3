"""EDM's NCSN++ on class-conditional CIFAR-10.

    python launch.py --config=configs/edm/cifar10_cond_ve.py

Published: FID 1.79 with 35 evaluations (the smallest of three).
Needs: the data `cifar10` (docs/data.md).

References:
    Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, table 2 and appendix F.
"""

from ml_collections import ConfigDict

from configs.edm import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.cifar10()
    common.ncsnpp(config, multipliers=(2, 2, 2), dropout=0.13)
    common.classes(config, 10)
    config.published.fid = 1.79
    return finish(config, variant)
