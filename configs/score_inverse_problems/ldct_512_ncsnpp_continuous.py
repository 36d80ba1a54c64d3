"""Continuous NCSN++ for computed tomography from 23 angles, 512 x 512 slices.

    python launch.py --config=configs/score_inverse_problems/ldct_512_ncsnpp_continuous.py

Published: no figure that we could check.
Needs: images of your own: `--config.data.path=FILE`, an array of 8-bit slices of 512 x 512 pixels. Then
`--mode=inverse`.

References:
    Song et al., Solving Inverse Problems in Medical Imaging with Score-Based Generative Models, 2022.
"""

from ml_collections import ConfigDict

from configs.score_inverse_problems import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.ldct()
    common.ct(config, strength=0.72, snr=0.4)
    return finish(config, variant, size=512, channels=1)
