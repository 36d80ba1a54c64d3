"""Digits in one to eight steps by progressive distillation of the network that comes with the library.

    python launch.py --config=configs/progressive.py
    python launch.py --config=configs/progressive.py --mode=evaluate --config.sampling.checkpoint=450     two steps

The teacher takes 16 steps of DDIM, guided; four rounds of 150 steps of training halve them to one. The checkpoints of
150, 300, 450 and 600 are the students of eight, four, two and one steps; docs/few_step.md has what they reach.
`:smoke` is a short version.

References:
    Salimans and Ho, Progressive Distillation for Fast Sampling of Diffusion Models, 2022.
    Meng et al., On Distillation of Guided Diffusion Models, 2023 (the guided teacher).
"""

from ml_collections import ConfigDict

from configs.mnist_conditional import get_config as get_teacher

CHANNELS = 28  # the teacher's, whatever the variant


def get_config(variant: str = "full") -> ConfigDict:
    config = get_teacher(variant)
    config.objective = "progressive_distillation"
    config.distillation.teacher = "mnist"
    config.distillation.guidance = 1.3
    config.distillation.rounds = 4
    config.network.channels = CHANNELS
    config.network.multipliers = (1, 2, 3)
    config.weighting = ConfigDict({"name": "truncated_snr"})

    config.optimizer.learning_rate = 0.005
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup = 10
    config.train.label_dropout = 0.0
    config.train.ema_rate = 0.97
    config.train.ema_warmup = "none"
    config.sampling.solver = "ddim"
    config.sampling.steps = 1
    config.sampling.to_zero = True
    config.sampling.final = "none"
    config.sampling.s_min = 0.02
    config.sampling.guidance = 1.0  # the student has learnt the teacher's
    if variant == "full":
        config.train.batch_size = 32
        config.train.steps = 600
        config.train.eval_every = 0  # losses of two rounds do not compare
        config.train.checkpoint_every = 75
        config.train.keep_every = 150
    else:
        config.train.batch_size = 8
        config.train.eval_examples = 8
    return config
