"""A variational diffusion model of ImageNet at 64 x 64, its noise schedule learned.

    python launch.py --config=configs/vdm_paper/imagenet64.py

Published: no figure that we could check.
Needs: the data `downsampled_imagenet` (docs/data.md).

References:
    Kingma et al., Variational Diffusion Models, 2021.
"""

from ml_collections import ConfigDict

from configs.variants import finish
from configs.vdm_paper.common import vdm


def get_config(variant: str = "full") -> ConfigDict:
    config = vdm("downsampled_imagenet", size=64, channels=256, layers=64)
    return finish(config, variant)
