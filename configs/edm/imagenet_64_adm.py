"""EDM's ADM network on class-conditional ImageNet at 64 x 64, sampled stochastically.

    python launch.py --config=configs/edm/imagenet_64_adm.py

Published: FID 1.36 with 511 evaluations.
Needs: the data `imagenet` (docs/data.md).

References:
    Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, table 2 and appendix F.
"""

from ml_collections import ConfigDict

from configs.edm import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.imagenet()
    common.adm(config)
    common.classes(config, 1000)
    config.published.fid = 1.36
    return finish(config, variant)
