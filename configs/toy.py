"""Two-dimensional densities in a minute: `python launch.py --config=configs/toy.py --config.data.name=two_moons`."""

from ml_collections import ConfigDict

from configs.default import get_config as get_default


def get_config(variant: str = "full") -> ConfigDict:
    if variant not in ("full", "smoke"):
        raise ValueError(f"the variants of configs/toy.py are full and smoke, got {variant!r}")
    config = get_default()
    config.data.name = "two_moons"
    config.sde.name = "edm"
    config.network.name = "mlp"
    config.prediction.name = "edm"
    config.prediction.sigma_data = 1.0
    config.weighting.name = "edm"
    config.weighting.sigma_data = 1.0
    config.times.name = "log_normal"
    config.times.mean = -1.2
    config.times.std = 1.5
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup = 100
    config.train.batch_size = 512
    config.train.steps = 5000
    config.train.log_every = 100
    config.sampling.count = 2000
    config.sampling.batch_size = 2000
    config.likelihood.count = 512
    config.likelihood.batch_size = 512
    config.likelihood.probes = 2
    config.likelihood.data_scale = 1.0
    if variant == "smoke":
        config.train.steps = 100
        config.train.log_every = 20
        config.train.eval_every = 50
        config.train.checkpoint_every = 50
        config.sampling.count = 200
        config.sampling.batch_size = 200
        config.likelihood.count = 32
        config.likelihood.batch_size = 32
    return config
