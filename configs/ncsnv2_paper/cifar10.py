"""NCSNv2 on CIFAR-10, as published.

    python launch.py --config=configs/ncsnv2_paper/cifar10.py

Published: FID 10.87, Inception score 8.40.
Needs: the data `cifar10` (docs/data.md).

References:
    Song and Ermon, Improved Techniques for Training Score-Based Generative Models, 2020, appendix B.
"""

from ml_collections import ConfigDict

from configs.ncsn_paper.common import ncsnv2
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = ncsnv2("cifar10", sigma_max=50.0, levels=232, step_size=6.2e-6, corrector_steps=5, steps=300_001)
    config.published.fid = 10.87
    config.published.inception_score = 8.4
    return finish(config, variant)
