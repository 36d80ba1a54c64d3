"""What the experiments of score_sde share: data with their training, networks, and processes with their samplers.

References:
    Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, appendices G and H.
"""

from ml_collections import ConfigDict

from configs.default import get_config as get_default

FIR = (1, 3, 3, 1)


def base(name: str, size: int | None, steps: int) -> ConfigDict:
    """Return what all of them are trained with."""
    config = get_default()
    config.seed = 42
    config.data.name = name
    config.data.size = size
    config.optimizer.learning_rate = 2e-4
    config.optimizer.warmup = 5000
    config.optimizer.b1 = 0.9
    config.optimizer.eps = 1e-8
    config.times.quantiles = "independent"
    config.train.steps = steps
    config.train.augmentation = "flip"
    config.train.dequantisation = "none"
    config.train.ema_warmup = "none"
    config.train.eval_every = 1000
    config.train.checkpoint_every = 10_000
    config.sampling.count = 50_000
    config.sampling.batch_size = 1000
    config.sampling.process = "reverse_sde"
    config.sampling.schedule = "score_sde"
    config.sampling.final = "none"
    config.likelihood.count = None
    config.likelihood.repeats = 5
    config.likelihood.rtol = config.likelihood.atol = 1e-5
    return config


def cifar10(steps: int = 1_300_001) -> ConfigDict:
    """Return the training on CIFAR-10, up to the sizes of network and noise."""
    config = base("cifar10", None, steps)
    config.train.batch_size = 128
    return config


def celeba() -> ConfigDict:
    """Return the training on CelebA, cropped to 64 x 64."""
    config = base("celeba", 64, 1_300_001)
    config.train.batch_size = 128
    return config


def large(name: str, *, category: str | None = None, size: int = 256) -> ConfigDict:
    """Return the training on images of 256 pixels, or another size; `category` is that of LSUN."""
    config = base(name, size, 2_400_001)
    config.data.category = category
    config.train.batch_size = 64
    config.train.checkpoint_every = 5000
    config.sampling.batch_size = 64
    return config


def huge(name: str) -> ConfigDict:
    """Return the training on 1024 x 1024 images."""
    config = base(name, 1024, 2_400_001)
    config.train.batch_size = 8
    config.train.checkpoint_every = 5000
    config.sampling.batch_size = 8
    return config


# -- networks


def ddpm(config: ConfigDict, multipliers: tuple[int, ...] = (1, 2, 2, 2), dropout: float = 0.1) -> None:
    """Set the network of DDPM."""
    unet(config, multipliers, 2, dropout)
    config.network.resampling = "conv"
    config.network.skip_scale = 1.0
    config.network.group_size = 1


def ddpmpp(config: ConfigDict, blocks: int = 4) -> None:
    """Set DDPM++, with `blocks` residual blocks a level."""
    unet(config, (1, 2, 2, 2), blocks, 0.1)


def ncsnpp(config: ConfigDict, blocks: int = 4) -> None:
    """Set NCSN++ for small images: filters where DDPM++ averages pixels, and a pyramid of the input."""
    ddpmpp(config, blocks)
    config.network.resample_filter = FIR
    config.network.progressive_input = "residual"


def ncsnpp_large(config: ConfigDict, channels: int, multipliers: tuple[int, ...], blocks: int) -> None:
    """Set NCSN++ for large images: every level sees the image and adds to the output."""
    unet(config, multipliers, blocks, 0.0)
    config.network.channels = channels
    config.network.resample_filter = FIR
    config.network.progressive_input = "input_skip"
    config.network.progressive_output = "output_skip"


def ncsnpp_256(config: ConfigDict) -> None:
    """Set NCSN++ for 256 x 256 images."""
    ncsnpp_large(config, 128, (1, 1, 2, 2, 2, 2, 2), 2)


def ncsnpp_1024(config: ConfigDict) -> None:
    """Set NCSN++ for 1024 x 1024 images."""
    ncsnpp_large(config, 16, (1, 2, 4, 8, 16, 32, 32, 32), 1)


def unet(config: ConfigDict, multipliers: tuple[int, ...], blocks: int, dropout: float) -> None:
    """Set what all of the networks have."""
    config.network.name = "unet"
    config.network.channels = 128
    config.network.multipliers = multipliers
    config.network.blocks = blocks
    config.network.attention = (16,)
    config.network.dropout = dropout
    config.network.embedding = "positional"


def ncsn(config: ConfigDict, levels: int) -> None:
    """Set NCSN's network, whose normalisation differs at each of `levels` levels."""
    _refinenet(config, "ncsn")
    config.network.levels = levels
    config.optimizer.learning_rate = 1e-3


def ncsnv2(config: ConfigDict, name: str, sigma_max: float, levels: int) -> None:
    """Set a network of NCSNv2: `ncsnv2`, `ncsnv2_deeper` for 128 pixels or `ncsnv2_deepest` for 256."""
    _refinenet(config, name)
    config.network.sigma_begin = sigma_max
    config.network.sigma_end = 0.01
    config.network.levels = levels
    config.optimizer.learning_rate = 1e-4


def _refinenet(config, name):
    config.network.name = name
    config.network.channels = 128
    config.optimizer.warmup = 0
    config.optimizer.clip = None


# -- processes


def ve(config: ConfigDict, sigma_max: float, *, snr: float, steps: int = 1000) -> None:
    """Set variance-exploding noise in continuous time: the network is fed its level and its output divided by it."""
    _exploding(config, sigma_max, snr, steps)
    config.prediction.name = "sigma_score"
    config.network.embedding = "log_fourier"
    config.network.output_divisor = "label"


def ve_levels(config: ConfigDict, sigma_max: float, *, snr: float, steps: int = 1000) -> None:
    """Set variance-exploding noise of `steps` levels: the network is fed the level's number, 0 that of the largest."""
    _exploding(config, sigma_max, snr, steps)
    number_levels(config, sigma_max, steps)
    config.network.output_divisor = (sigma_max, 0.01, steps)


def number_levels(config: ConfigDict, sigma_max: float, levels: int) -> None:
    """Train at `levels` levels in geometric sequence from `sigma_max` to 0.01, the network fed the number of one."""
    config.sde.t_min = 0.0
    config.prediction.name = "level_score"
    config.prediction.sigma_begin = sigma_max
    config.prediction.sigma_end = 0.01
    config.prediction.levels = levels
    config.times.name = "levels"
    config.times.levels = levels
    config.times.schedule = "uniform_log_snr"


def vp(config: ConfigDict, predictor: str = "euler_maruyama") -> None:
    """Set variance-preserving noise in continuous time: the network is fed 999 t."""
    _preserving(config, "vp", predictor)
    config.network.label_scale = 999.0


def subvp(config: ConfigDict) -> None:
    """Set the sub-VP process: the network is fed 999 t."""
    _preserving(config, "subvp", "euler_maruyama")
    config.network.label_scale = 999.0


def vp_levels(config: ConfigDict, predictor: str = "ancestral") -> None:
    """Set DDPM's thousand levels of variance-preserving noise: the network is fed the level's number."""
    _preserving(config, "vp", predictor)
    config.prediction.name = "step_noise"
    config.prediction.levels = 1000
    config.times.name = "levels"
    config.times.levels = 1000
    config.times.schedule = "discrete_vp"


def langevin(config: ConfigDict, sigma_max: float, *, levels: int, snr: float, corrector_steps: int) -> None:
    """Set NCSN's training and sampling: `levels` levels of noise, at each of them Langevin steps and nothing else."""
    _exploding(config, sigma_max, snr, levels)
    number_levels(config, sigma_max, levels)
    config.network.data_range = (0.0, 1.0)
    config.sampling.solver = "annealed_langevin"
    config.sampling.schedule = "langevin_levels"
    config.sampling.corrector_steps = corrector_steps


def _exploding(config, sigma_max, snr, steps):
    config.data.low, config.data.high = 0.0, 1.0
    config.network.data_range = (0.0, 1.0)
    config.sde.name = "ve"
    config.sde.sigma_min = 0.01
    config.sde.sigma_max = sigma_max
    config.train.ema_rate = 0.999
    config.train.reduction = "half_sum"
    config.sampling.solver = "score_sde_reverse_diffusion"
    config.sampling.steps = steps
    config.sampling.snr = snr
    config.sampling.corrector_steps = 1
    config.likelihood.data_scale = 0.25


def _preserving(config, sde, predictor):
    config.sde.name = sde
    config.sde.beta_min = 0.1
    config.sde.beta_max = 20.0
    config.prediction.name = "noise"
    config.train.ema_rate = 0.9999
    config.train.reduction = "mean"
    config.sampling.solver = f"score_sde_{predictor}"
    config.sampling.steps = 1000
    config.likelihood.data_scale = 0.5
