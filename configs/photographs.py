"""Patches of photographs, 32x32, RGB: a prior for colourisation.

`python launch.py --config=configs/photographs.py --mode=train`, then `--mode=inverse
--config.inverse.method=METHOD`; `--config=configs/photographs.py:smoke` runs everything in a minute. Two photographs
of scikit-learn's, cut into overlapping patches; a band of columns of each is held out. The network and its training are
those of configs/mnist.py but for their size. docs/inverse.md has what it reaches.

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, appendix I.3.
"""

from ml_collections import ConfigDict

from configs.mnist import get_config as get_mnist


def get_config(variant: str = "full") -> ConfigDict:
    if variant not in ("full", "smoke"):
        raise ValueError(f"the variants of configs/photographs.py are full and smoke, got {variant!r}")
    config = get_mnist(variant)
    config.data.name = "patches"
    config.data.size = 32
    config.data.stride = 4
    config.train.augmentation = "flip"
    config.inverse.task = "colorize"
    config.network.patch = 4
    if variant == "full":
        config.network.channels = 48
        config.network.multipliers = (1, 2)
        config.train.steps = 2000
    return config
