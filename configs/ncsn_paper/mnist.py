"""NCSN on MNIST, as first published.

    python launch.py --config=configs/ncsn_paper/mnist.py

Published: no figure.
Needs: the data `full_mnist` (docs/data.md).

References:
    Song and Ermon, Generative Modeling by Estimating Gradients of the Data Distribution, 2019, appendix B.
"""

from ml_collections import ConfigDict

from configs.ncsn_paper.common import ncsn
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = ncsn("full_mnist", channels=64)
    config.train.augmentation = "none"
    return finish(config, variant, channels=1)
