"""Continuous NCSN++ for computed tomography from 23 angles, 512 x 512 slices.

    python launch.py --config=configs/score_inverse_problems/ldct_512_ncsnpp_continuous.py

Published: no figure that we could check.
Needs: volumes of slices: `--config.data.path=FOLDER` (docs/data.md). Then `--mode=inverse`.

References:
    Song et al., Solving Inverse Problems in Medical Imaging with Score-Based Generative Models, 2022.
"""

from ml_collections import ConfigDict

from configs.score_inverse_problems import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.ldct()
    common.ct(config, strength=0.72, snr=0.4)
    return finish(config, variant, channels=1)
