"""Consistency distillation on CIFAR-10 in continuous time.

    python launch.py --config=configs/consistency_models/cifar10_continuous.py

Published: no figure that is comparable. The training is that of the paper's continuous-time experiments (RAdam at 1e-3,
dropout 0.3, 800,000 steps); the loss is the later one with normalised tangents, a warm-up and an adaptive weighting.
Needs: the data `cifar10` (docs/data.md), and the teacher that configs/consistency_models/cifar10_edm.py trains.

References:
    Song, Dhariwal, Chen, Sutskever, Consistency Models, 2023, appendices B and C.
    Lu and Song, Simplifying, Stabilizing and Scaling Continuous-Time Consistency Models, 2024, algorithm 1.
"""

from ml_collections import ConfigDict

from configs.consistency_models import common
from configs.variants import finish


def get_config(variant: str = "full") -> ConfigDict:
    config = common.distilled(common.base("continuous_distillation", learning_rate=1e-3, dropout=0.3))
    config.consistency.data_scale = 0.5
    config.consistency.warmup = 10_000
    config.consistency.adaptive = True
    config.times.name = "truncated_log_normal"
    config.times.mean = -1.0
    config.times.std = 1.4
    return finish(config, variant)
