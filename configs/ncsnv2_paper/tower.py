"""NCSNv2 on LSUN's towers at 128 x 128, as published.

    python launch.py --config=configs/ncsnv2_paper/tower.py

Published: no figure.
Needs: the data `lsun` (docs/data.md).

References:
    Song and Ermon, Improved Techniques for Training Score-Based Generative Models, 2020, appendix B.
"""

from ml_collections import ConfigDict

from configs.ncsn_paper.common import ncsnv2
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = ncsnv2("lsun", size=128, sigma_max=190.0, levels=1086, step_size=1.8e-6, corrector_steps=3, steps=150_001)
    config.data.category = "tower"
    config.network.name = "ncsnv2_deeper"
    return finish(config, variant)
