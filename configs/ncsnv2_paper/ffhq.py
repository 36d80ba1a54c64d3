"""NCSNv2 on FFHQ at 256 x 256, as published.

    python launch.py --config=configs/ncsnv2_paper/ffhq.py

Published: samples, no figure.
Needs: the data `ffhq` (docs/data.md).

References:
    Song and Ermon, Improved Techniques for Training Score-Based Generative Models, 2020, appendix B.
"""

from ml_collections import ConfigDict

from configs.ncsn_paper.common import ncsnv2
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = ncsnv2("ffhq", size=256, sigma_max=348.0, levels=2311, step_size=9e-7, corrector_steps=3, steps=80_001)
    config.network.name = "ncsnv2_deepest"
    config.optimizer.eps = 1e-3
    config.train.batch_size = 32
    return finish(config, variant)
