"""NCSN on CelebA at 32 x 32, as first published.

    python launch.py --config=configs/ncsn_paper/celeba.py

Published: no figure.
Needs: the data `celeba` (docs/data.md).

References:
    Song and Ermon, Generative Modeling by Estimating Gradients of the Data Distribution, 2019, appendix B.
"""

from ml_collections import ConfigDict

from configs.ncsn_paper.common import ncsn
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = ncsn("celeba", size=32)
    return finish(config, variant)
