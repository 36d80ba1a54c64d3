"""A classifier of noisy MNIST digits, to guide a score: `python launch.py --config=configs/classifier.py`.

A small wide residual network that is told the noise level, trained on perturbed digits by the loop that trains
scores. Its accuracy on held-out digits at several noise levels goes to `accuracy.json`. For the CIFAR-10 classifier of
the reference set `blocks = 4`, `width = 10`.

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, appendix I.1.
"""

from ml_collections import ConfigDict

from configs.default import get_config as get_default


def get_config(variant: str = "full") -> ConfigDict:
    if variant not in ("full", "smoke"):
        raise ValueError(f"the variants of configs/classifier.py are full and smoke, got {variant!r}")
    config = get_default()
    config.objective = "classifier"
    config.data.name = "mnist"

    config.sde.name = "edm"
    config.sde.t_min = 0.002
    config.sde.t_max = 80.0

    config.network.name = "wide_resnet"
    config.network.blocks = 1
    config.network.width = 1
    config.network.fourier_scale = 1.0

    config.prediction.name = "edm"  # how the network is fed: log(s) / 4, and images scaled to unit variance
    config.prediction.sigma_data = 0.6
    config.times.name = "log_normal"
    config.times.mean = -0.8
    config.times.std = 1.5

    config.optimizer.learning_rate = 3e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup = 50
    config.train.batch_size = 64
    config.train.steps = 1500
    config.train.ema_rate = 0.99
    config.train.eval_every = 250
    config.train.checkpoint_every = 500

    if variant == "smoke":
        config.optimizer.warmup = 5
        config.train.steps = 30
        config.train.batch_size = 16
        config.train.log_every = 10
        config.train.eval_every = 15
        config.train.eval_examples = 64
        config.train.checkpoint_every = 15
    return config
