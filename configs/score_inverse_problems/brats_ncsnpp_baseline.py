"""Continuous NCSN++ for magnetic resonance images at an eighth of the lines, by predictor-corrector with a likelihood.

    python launch.py --config=configs/score_inverse_problems/brats_ncsnpp_baseline.py

Published: no figure that we could check.
Needs: volumes of slices: `--config.data.path=FOLDER` (docs/data.md). Then `--mode=inverse`.

References:
    Song et al., Solving Inverse Problems in Medical Imaging with Score-Based Generative Models, 2022.
"""

from ml_collections import ConfigDict

from configs.score_inverse_problems import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.brats()
    common.mri(config, snr=0.608)
    common.likelihood(config, rate=1.231)
    return finish(config, variant, channels=1)
