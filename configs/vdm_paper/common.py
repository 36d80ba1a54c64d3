"""What the experiments of the paper on variational diffusion models share.

The paper's schedule is linear in the log signal-to-noise ratio, its ends learned; here what lies between is learned
too, to lower the variance. Its data augmentation, which leads to 2.49 bits per dimension, is not here.

References:
    Kingma et al., Variational Diffusion Models, 2021.
"""

from ml_collections import ConfigDict

from configs.default import get_config as get_default


def vdm(name: str, *, size: int | None = None, channels: int, layers: int) -> ConfigDict:
    """Return a variational diffusion model of images, by a U-Net of one resolution and `layers` layers a way."""
    config = get_default()
    config.seed = 1
    config.objective = "vdm"
    config.data.name = name
    config.data.size = size
    config.sde.name = "learned_vp"
    config.sde.log_snr_max = 13.3
    config.sde.log_snr_min = -5.0
    config.network.name = "vdm"
    config.network.channels = channels
    config.network.layers = layers
    config.network.dropout = 0.1
    config.prediction.name = "gamma_noise"
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 2e-4
    config.optimizer.warmup = 100
    config.optimizer.clip = None
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.99
    config.optimizer.eps = 1e-8
    config.optimizer.weight_decay = 0.01
    config.train.batch_size = 128
    config.train.steps = 10_000_000
    config.train.ema_rate = 0.9999
    config.train.ema_warmup = "none"
    config.train.eval_every = config.train.checkpoint_every = 10_000
    config.sampling.process = "reverse_sde"
    config.sampling.solver = "ancestral"
    config.sampling.schedule = "uniform_time"
    config.sampling.steps = 1000
    config.sampling.final = "none"
    config.sampling.count = 50_000
    config.sampling.batch_size = 500
    config.likelihood.count = None
    return config
