"""NCSN on CIFAR-10, as first published.

    python launch.py --config=configs/ncsn_paper/cifar10.py

Published: FID 25.32, Inception score 8.87.
Needs: the data `cifar10` (docs/data.md).

References:
    Song and Ermon, Generative Modeling by Estimating Gradients of the Data Distribution, 2019, appendix B.
"""

from ml_collections import ConfigDict

from configs.ncsn_paper.common import ncsn
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = ncsn("cifar10")
    config.published.fid = 25.32
    config.published.inception_score = 8.87
    return finish(config, variant)
