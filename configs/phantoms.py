"""Phantoms of medical images, 64x64: a prior for tomography and magnetic resonance imaging.

`python launch.py --config=configs/phantoms.py --mode=train`, then `--mode=inverse --config.inverse.task=ct` or `mri`;
`--config=configs/phantoms.py:smoke` runs everything in a minute. The network and its training are those of
configs/mnist.py but for their size.

References:
    Song et al., Solving Inverse Problems in Medical Imaging with Score-Based Generative Models, 2022.
"""

from ml_collections import ConfigDict

from configs.mnist import get_config as get_mnist


def get_config(variant: str = "full") -> ConfigDict:
    if variant not in ("full", "smoke"):
        raise ValueError(f"the variants of configs/phantoms.py are full and smoke, got {variant!r}")
    config = get_mnist(variant)
    config.data.name = "phantoms"
    config.data.size = 64
    config.data.count = 4000
    config.prediction.sigma_data = 0.5
    config.weighting.sigma_data = 0.5
    config.likelihood.data_scale = 0.5
    config.times.mean = -1.2
    config.times.std = 1.4
    config.train.batch_size = 16
    config.train.steps = 5000
    config.train.ema_rate = 0.995
    if variant == "smoke":
        config.train.steps = 40
        config.data.size = 32
        config.data.count = 100
        config.likelihood.count = 2
    return config
