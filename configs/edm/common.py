"""What the experiments of EDM share: preconditioning, training, its two samplers, and networks.

References:
    Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, table 1 and appendix F.
"""

from ml_collections import ConfigDict

from configs.default import get_config as get_default


def base(
    name: str, size: int | None, *, batch_size: int, millions: float, learning_rate: float, half_life: float
) -> ConfigDict:
    """Return the training on a number of millions of images; the average's half-life is in millions too."""
    config = get_default()
    config.data.name = name
    config.data.size = size
    config.sde.name = "edm"
    config.sde.t_min = 0.002
    config.sde.t_max = 80.0
    config.prediction.name = "edm"
    config.prediction.sigma_data = 0.5
    config.weighting.name = "edm"
    config.weighting.sigma_data = 0.5
    config.times.name = "log_normal"
    config.times.quantiles = "independent"
    config.times.mean = -1.2
    config.times.std = 1.2
    config.optimizer.learning_rate = learning_rate
    config.optimizer.warmup = round(10e6 / batch_size)
    config.optimizer.clip = None
    config.train.batch_size = batch_size
    config.train.steps = round(millions * 1e6 / batch_size)
    config.train.dequantisation = "none"
    config.train.reduction = "sum"
    config.train.label_dropout = 0.0
    config.train.ema_rate = 0.5 ** (batch_size / (half_life * 1e6))
    config.train.ema_warmup = "half_life"
    config.train.checkpoint_every = 5000
    config.sampling.count = 50_000
    config.sampling.batch_size = 500
    config.sampling.process = "probability_flow"
    config.sampling.solver = "heun"
    config.sampling.schedule = "karras"
    config.sampling.s_min = 0.002
    config.sampling.s_max = 80.0
    return config


def cifar10() -> ConfigDict:
    """Return the training on CIFAR-10, sampled with 35 evaluations."""
    config = base("cifar10", None, batch_size=512, millions=200, learning_rate=1e-3, half_life=0.5)
    augment(config, 0.12)
    config.sampling.steps = 17  # and the last one, to zero noise
    return config


def faces(name: str) -> ConfigDict:
    """Return the training on faces of 64 x 64 pixels, people's or animals', sampled with 79 evaluations."""
    config = base(name, 64, batch_size=256, millions=200, learning_rate=2e-4, half_life=0.5)
    augment(config, 0.15)
    config.sampling.steps = 39
    return config


def imagenet() -> ConfigDict:
    """Return the training on ImageNet, made 64 x 64, sampled stochastically with 511 evaluations."""
    config = base("imagenet", 64, batch_size=4096, millions=2500, learning_rate=1e-4, half_life=50)
    config.sampling.process = "reverse_sde"
    config.sampling.solver = "churn"
    config.sampling.s_churn = 40.0
    config.sampling.s_noise = 1.003
    config.sampling.steps = 255
    return config


def augment(config: ConfigDict, probability: float) -> None:
    """Transform the training images geometrically, and tell the network how."""
    config.train.augmentation = "edm"
    config.train.augment_probability = probability


def ddpmpp(config: ConfigDict, multipliers: tuple[int, ...], dropout: float) -> None:
    """Set EDM's DDPM++ (its "VP" models)."""
    config.network.name = "unet"
    config.network.channels = 128
    config.network.multipliers = multipliers
    config.network.blocks = 4
    config.network.attention = (16,)
    config.network.dropout = dropout
    config.network.embedding = "positional"
    config.network.class_embedding = "song"
    config.network.augment_labels = 9


def ncsnpp(config: ConfigDict, multipliers: tuple[int, ...], dropout: float) -> None:
    """Set EDM's NCSN++ (its "VE" models)."""
    ddpmpp(config, multipliers, dropout)
    config.network.embedding = "fourier"
    config.network.resample_filter = (1, 3, 3, 1)
    config.network.progressive_input = "residual"


def adm(config: ConfigDict) -> None:
    """Set the ADM network for images of 64 x 64 pixels."""
    config.network.name = "unet"
    config.network.channels = 192
    config.network.multipliers = (1, 2, 3, 4)
    config.network.blocks = 3
    config.network.attention = (32, 16, 8)
    config.network.dropout = 0.1
    config.network.head_channels = 64
    config.network.up_attention = "block"
    config.network.conditioning = "scale_shift"
    config.network.skip_projection = "channels"
    config.network.skip_scale = 1.0
    config.network.epsilon = 1e-5
    config.network.freq_shift = 0
    config.network.embedding_order = "cos_sin"
    config.network.class_embedding = "adm"


def classes(config: ConfigDict, count: int) -> None:
    """Tell the network one of `count` classes, and sample all of them alike."""
    config.network.num_classes = count
    config.sampling.label = "balanced"
