"""NCSNv2 on LSUN's churches at 64 x 64, as published.

    python launch.py --config=configs/ncsnv2_paper/church.py

Published: no figure at this size.
Needs: the data `lsun` (docs/data.md).

References:
    Song and Ermon, Improved Techniques for Training Score-Based Generative Models, 2020, appendix B.
"""

from ml_collections import ConfigDict

from configs.ncsn_paper.common import ncsnv2
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = ncsnv2("lsun", size=64, sigma_max=140.0, levels=788, step_size=4.9e-6, corrector_steps=4, steps=200_001)
    config.data.category = "church_outdoor"
    return finish(config, variant)
