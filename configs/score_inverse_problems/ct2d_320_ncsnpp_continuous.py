"""Continuous NCSN++ for computed tomography from 23 angles, 320 x 320 slices.

    python launch.py --config=configs/score_inverse_problems/ct2d_320_ncsnpp_continuous.py

Published: no figure that we could check.
Needs: volumes of slices: `--config.data.path=FOLDER` (docs/data.md). Then `--mode=inverse`.

References:
    Song et al., Solving Inverse Problems in Medical Imaging with Score-Based Generative Models, 2022.
"""

from ml_collections import ConfigDict

from configs.score_inverse_problems import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.lidc()
    common.ct(config, strength=0.841, snr=0.246)
    return finish(config, variant, channels=1)
