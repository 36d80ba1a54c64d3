"""Continuous DDPM++ on CIFAR-10, sub-VP, for likelihood.

    python launch.py --config=configs/score_flow/subvp/cifar10_ddpmpp_continuous.py

Published: 2.83 bits per dimension for the best of the paper's models, with variational dequantisation and weighted for
likelihood.
Needs: the data `cifar10` (docs/data.md). `--config.weighting.name=likelihood` weights the loss,
`--config.times.name=log_uniform` does the same by importance sampling.

References:
    Song, Durkan, Murray, Ermon, Maximum Likelihood Training of Score-Based Diffusion Models, 2021.
"""

from ml_collections import ConfigDict

from configs.score_flow import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.cifar10()
    common.ddpmpp(config)
    common.subvp(config)
    return finish(config, variant)
