"""Improved consistency training on CIFAR-10 with the deeper of its two networks.

    python launch.py --config=configs/consistency_models/cifar10_ict.py

Published: FID 2.51 in one step, 2.24 in two (`--config.sampling.steps=2`).
Needs: the data `cifar10` (docs/data.md).

References:
    Song and Dhariwal, Improved Techniques for Training Consistency Models, 2023, tables 1 and 2.
"""

from ml_collections import ConfigDict

from configs.consistency_models import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.from_data(common.base("training", learning_rate=1e-4, dropout=0.3))
    config.consistency.levels = "doubling"
    config.consistency.first = 10
    config.consistency.last = 1280
    config.consistency.target = "student"
    config.consistency.distance = "pseudo_huber"
    config.consistency.weighting = "inverse_gap"
    config.times.name = "truncated_log_normal"
    config.times.mean = -1.1
    config.times.std = 2.0
    config.network.blocks = 8
    config.network.fourier_scale = 0.02
    config.optimizer.warmup = 0
    config.train.batch_size = 1024
    config.train.steps = 400_000
    config.train.ema_rate = 0.99993
    config.published.fid = 2.51
    return finish(config, variant)
