"""NCSNv2 on CelebA at 64 x 64, as published.

    python launch.py --config=configs/ncsnv2_paper/celeba.py

Published: FID 10.23.
Needs: the data `celeba` (docs/data.md).

References:
    Song and Ermon, Improved Techniques for Training Score-Based Generative Models, 2020, appendix B.
"""

from ml_collections import ConfigDict

from configs.ncsn_paper.common import ncsnv2
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = ncsnv2("celeba", size=64, sigma_max=90.0, levels=500, step_size=3.3e-6, corrector_steps=5, steps=210_001)
    config.published.fid = 10.23
    return finish(config, variant)
