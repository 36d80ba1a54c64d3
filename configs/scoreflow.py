"""Training for likelihood: likelihood weighting, with times drawn in proportion to it.

    python launch.py --config=configs/scoreflow.py           8x8 digits
    python launch.py --config=configs/scoreflow.py:mnist     MNIST

Times uniform in the log of the noise level, each weighted alike, have the likelihood-weighted loss as their mean, at a
lower variance. What this gains in bits per dimension is measured by benchmarks/weightings.py and stands in
docs/objectives.md.

References:
    Song, Durkan, Murray, Ermon, Maximum Likelihood Training of Score-Based Diffusion Models, 2021.
"""

from ml_collections import ConfigDict

from configs.default import get_config as get_default
from configs.default import shrink


def get_config(variant: str = "full") -> ConfigDict:
    if variant not in ("full", "mnist", "smoke"):
        raise ValueError(f"the variants of configs/scoreflow.py are full, mnist and smoke, got {variant!r}")
    config = get_default()
    config.data.name = "digits"
    config.sde.name = "vp"

    config.network.name = "unet"
    config.network.channels = 16
    config.network.multipliers = (1, 2)
    config.network.blocks = 1
    config.network.attention = ()
    config.network.dropout = 0.0
    config.network.label_scale = 250.0

    config.prediction.name = "edm"
    config.prediction.sigma_data = 0.6
    config.weighting.name = "noise"
    config.times.name = "log_uniform"

    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 0.02
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup = 50
    config.train.batch_size = 64
    config.train.steps = 4000
    config.train.ema_rate = 0.998
    config.train.eval_every = 500
    config.sampling.count = 100
    config.sampling.s_min = 0.01
    config.sampling.s_max = 20.0
    config.likelihood.data_scale = 0.6

    if variant == "mnist":
        config.data.name = "mnist"
        config.network.channels = 24
        config.network.multipliers = (1, 2, 3)
        config.network.dropout = 0.0
        config.network.patch = 2
        config.train.batch_size = 32
    if variant == "smoke":
        shrink(config)
    return config
