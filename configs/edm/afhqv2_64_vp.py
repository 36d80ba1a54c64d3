"""EDM's DDPM++ on AFHQv2 at 64 x 64.

    python launch.py --config=configs/edm/afhqv2_64_vp.py

Published: FID 1.96 with 79 evaluations (the smallest of three).
Needs: the images in a folder: `--config.data.path=FOLDER`.

References:
    Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, table 2 and appendix F.
"""

from ml_collections import ConfigDict

from configs.edm import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.faces("folder")
    common.ddpmpp(config, multipliers=(1, 2, 2, 2), dropout=0.25)
    config.published.fid = 1.96
    return finish(config, variant)
