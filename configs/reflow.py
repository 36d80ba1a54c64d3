"""Digits in few steps by reflow of the network that comes with the library.

    python launch.py --config=configs/reflow.py
    python launch.py --config=configs/reflow.py --mode=evaluate --config.sampling.steps=1

3,000 pairs of noise and digit, joined by the teacher's guided flow, are made once into the run's folder; a straight
flow between them is trained from the teacher's parameters, along the lines `(1 - t) x0 + t noise`. docs/few_step.md has
what it reaches. `:smoke` is a short version.

References:
    Liu et al., Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow, 2022.
"""

from ml_collections import ConfigDict

from configs.mnist_conditional import get_config as get_teacher

S_MIN, S_MAX = 0.01, 20.0


def get_config(variant: str = "full") -> ConfigDict:
    config = get_teacher(variant)
    config.objective = "reflow"
    config.distillation.teacher = "mnist"
    config.distillation.guidance = 1.3
    config.distillation.steps = 10
    config.distillation.pairs = 3000
    config.network.channels = 28
    config.network.multipliers = (1, 2, 3)

    config.sde = ConfigDict({"name": "rectified_flow", "t_min": S_MIN / (1 + S_MIN), "t_max": S_MAX / (1 + S_MAX)})
    config.weighting = ConfigDict({"name": "flow"})
    config.times = ConfigDict({"name": "uniform", "quantiles": "stratified"})
    config.optimizer.learning_rate = 0.01
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup = 20
    config.train.label_dropout = 0.0
    config.train.ema_rate = 0.99
    config.sampling.solver = "ddim"
    config.sampling.schedule = "uniform_time"
    config.sampling.s_min = config.sampling.s_max = None
    config.sampling.steps = 2
    config.sampling.to_zero = True
    config.sampling.final = "none"
    config.sampling.guidance = 1.0
    if variant == "full":
        config.train.batch_size = 32
        config.train.steps = 400
        config.train.eval_every = 0  # held-out pairs would cost the teacher's steps
        config.train.checkpoint_every = 40
    else:
        config.distillation.pairs = 16
        config.distillation.steps = 2
        config.train.batch_size = 8
        config.train.eval_examples = 8
        config.sampling.batch_size = 16
    return config
