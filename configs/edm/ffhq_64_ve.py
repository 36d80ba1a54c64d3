"""EDM's NCSN++ on FFHQ at 64 x 64.

    python launch.py --config=configs/edm/ffhq_64_ve.py

Published: FID 2.53 with 79 evaluations (the smallest of three).
Needs: the data `ffhq` (docs/data.md).

References:
    Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, table 2 and appendix F.
"""

from ml_collections import ConfigDict

from configs.edm import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.faces("ffhq")
    common.ncsnpp(config, multipliers=(1, 2, 2, 2), dropout=0.05)
    config.published.fid = 2.53
    return finish(config, variant)
