"""A consistency model of digits, distilled from the network that comes with the library.

    python launch.py --config=configs/consistency.py              from 3,000 whole trajectories of the network
    python launch.py --config=configs/consistency.py:distillation between adjacent noise levels
    python launch.py --config=configs/consistency.py:continuous   the same in continuous time
    python launch.py --config=configs/consistency.py:tuning       from data, starting as that network
    python launch.py --config=configs/consistency.py:training     from data alone

Two steps, or with --config.sampling.steps=1 one. What they reach stands in docs/few_step.md.

References:
    Song, Dhariwal, Chen, Sutskever, Consistency Models, 2023.
    Song and Dhariwal, Improved Techniques for Training Consistency Models, 2023.
    Geng, Pokle, Luo, Lin, Kolter, Consistency Models Made Easy, 2024, for the start of "tuning".
    Lu and Song, Simplifying, Stabilizing and Scaling Continuous-Time Consistency Models, 2024.
"""

from ml_collections import ConfigDict

from configs.default import shrink
from configs.mnist_conditional import get_config as get_mnist

VARIANTS = ("full", "distillation", "continuous", "tuning", "training", "smoke")


def get_config(variant: str = "full") -> ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"the variants of configs/consistency.py are {', '.join(VARIANTS)}, got {variant!r}")
    config = get_mnist()
    config.objective = "consistency"
    config.sde.t_min = 0.01
    config.sde.t_max = 20.0
    config.prediction.name = "consistency"
    config.prediction.s_min = 0.01

    config.distillation.teacher = "mnist"
    config.distillation.guidance = 1.3
    config.distillation.steps = 12
    config.distillation.pairs = 3000
    config.consistency.name = "trajectories"
    config.times.name = "karras"
    config.times.mean = None
    config.times.std = None

    config.optimizer.learning_rate = 0.01
    config.optimizer.warmup = 20
    config.train.batch_size = 32
    config.train.steps = 800
    config.train.ema_rate = 0.99
    config.train.label_dropout = 0.0
    config.train.log_every = 20
    config.train.eval_every = 0  # held-out trajectories would cost the teacher's steps
    config.train.checkpoint_every = 100

    config.sampling.process = "reverse_sde"
    config.sampling.solver = "consistency"
    config.sampling.steps = 2
    config.sampling.s_min = 0.8
    config.sampling.s_max = 20.0
    config.sampling.to_zero = True
    config.sampling.final = "none"
    config.sampling.guidance = 1.0
    config.inverse.method = "consistency"
    config.inverse.steps = 8

    if variant in ("distillation", "continuous", "tuning", "training"):
        config.distillation.pairs = 0
        config.consistency.name = "distillation"
        config.consistency.last = 12
        config.consistency.distance = "pseudo_huber"
        config.train.eval_every = 200
    if variant in ("distillation", "continuous"):
        config.optimizer.name = "adam"
        config.optimizer.learning_rate = 5e-4
    if variant == "continuous":
        config.prediction.name = "edm"
        config.prediction.s_min = None
        config.consistency.name = "continuous_distillation"
        config.consistency.last = None
        config.consistency.distance = None
        config.consistency.data_scale = 0.6
        config.consistency.warmup = 300
        config.times.name = "truncated_log_normal"
        config.times.mean = -1.0
        config.times.std = 1.4
    if variant in ("tuning", "training"):
        config.consistency.name = "training"
        config.consistency.levels = "doubling"
        config.consistency.first, config.consistency.last = (40, 320) if variant == "tuning" else (10, 160)
        config.consistency.target = "student"
        config.consistency.weighting = "inverse_gap"
        config.times.name = "truncated_log_normal"
        config.times.mean = -1.1
        config.times.std = 2.0
    if variant == "training":
        config.distillation.teacher = None
        config.distillation.start = "random"
    if variant == "smoke":
        shrink(config)
        config.distillation.start = "random"
        config.distillation.steps = 3
        config.distillation.pairs = 16
        config.train.batch_size = 8
        config.train.eval_examples = 8
        config.sampling.steps = 2
    return config
