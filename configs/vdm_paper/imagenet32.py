"""A variational diffusion model of ImageNet at 32 x 32, its noise schedule learned.

    python launch.py --config=configs/vdm_paper/imagenet32.py

Published: 3.72 bits per dimension.
Needs: the data `downsampled_imagenet` (docs/data.md).

References:
    Kingma et al., Variational Diffusion Models, 2021.
"""

from ml_collections import ConfigDict

from configs.variants import finish
from configs.vdm_paper.common import vdm


def get_config(variant: str = "full") -> ConfigDict:
    config = vdm("downsampled_imagenet", size=32, channels=256, layers=32)
    config.published.bits_per_dim = 3.72
    return finish(config, variant)
