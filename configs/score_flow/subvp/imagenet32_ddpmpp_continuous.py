"""Continuous DDPM++ on ImageNet at 32 x 32, sub-VP, for likelihood.

    python launch.py --config=configs/score_flow/subvp/imagenet32_ddpmpp_continuous.py

Published: 3.76 bits per dimension for the best of the paper's models, with variational dequantisation and weighted for
likelihood.
Needs: the data `downsampled_imagenet` (docs/data.md). `--config.weighting.name=likelihood` weights the loss,
`--config.times.name=log_uniform` does the same by importance sampling.

References:
    Song, Durkan, Murray, Ermon, Maximum Likelihood Training of Score-Based Diffusion Models, 2021.
"""

from ml_collections import ConfigDict

from configs.score_flow import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.imagenet32()
    common.ddpmpp(config)
    config.network.dropout = 0.0
    common.subvp(config)
    return finish(config, variant)
