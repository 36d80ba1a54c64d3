"""What the experiments of consistency models on CIFAR-10 share: EDM's NCSN++, and sampling in one step.

References:
    Song, Dhariwal, Chen, Sutskever, Consistency Models, 2023, appendix C.
"""

from ml_collections import ConfigDict

from configs.edm import common as edm

TEACHER = "runs/consistency_models/cifar10_edm"


def diffusion() -> ConfigDict:
    """Return EDM's training of NCSN++, with flips in place of its augmentation, and its sampler."""
    config = edm.base("cifar10", None, batch_size=512, millions=204.8, learning_rate=1e-3, half_life=0.5)
    edm.ncsnpp(config, multipliers=(2, 2, 2), dropout=0.13)
    config.network.augment_labels = 0
    config.train.augmentation = "flip"
    config.train.ema_warmup = "none"
    config.sampling.steps = 17  # and the last one, to zero noise
    return config


def base(name: str, *, learning_rate: float, dropout: float = 0.0) -> ConfigDict:
    """Return the training of a consistency model by the form of that name, for 800,000 steps, and one-step sampling."""
    config = diffusion()
    config.objective = "consistency"
    config.consistency.name = name
    config.prediction.name = "consistency"
    config.prediction.s_min = 0.002
    config.network.dropout = dropout
    config.times.name = "karras"
    config.times.mean = None
    config.times.std = None
    config.optimizer.name = "radam"
    config.optimizer.learning_rate = learning_rate
    config.train.steps = 800_000
    config.train.ema_rate = 0.9999
    config.sampling.process = "reverse_sde"
    config.sampling.solver = "consistency"
    config.sampling.steps = 1
    config.sampling.s_min = 0.821  # between the steps, where there are two
    config.sampling.to_zero = True
    config.sampling.final = "none"
    return config


def distilled(config: ConfigDict) -> ConfigDict:
    """Let the model start from its teacher and learn from it."""
    config.distillation.teacher = TEACHER
    config.distillation.start = "teacher"
    return config


def from_data(config: ConfigDict) -> ConfigDict:
    """Let the model start anew and learn from the data alone."""
    config.distillation.start = "random"
    return config
