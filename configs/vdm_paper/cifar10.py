"""A variational diffusion model of CIFAR-10, its noise schedule learned.

    python launch.py --config=configs/vdm_paper/cifar10.py

Published: 2.65 bits per dimension (2.637 in the repository).
Needs: the data `cifar10` (docs/data.md).

References:
    Kingma et al., Variational Diffusion Models, 2021.
"""

from ml_collections import ConfigDict

from configs.variants import finish
from configs.vdm_paper.common import vdm


def get_config(variant: str = "full") -> ConfigDict:
    config = vdm("cifar10", channels=128, layers=32)
    config.published.bits_per_dim = 2.65
    return finish(config, variant)
