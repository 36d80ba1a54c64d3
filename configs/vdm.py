"""MNIST digits by a variational diffusion model, its noise schedule learned.

    python launch.py --config=configs/vdm.py

`loss` and `eval_loss` among the metrics are bounds in bits per dimension, as is what mode `likelihood` measures;
`--config.train.chain_steps=1000` trains a chain of discrete steps instead of continuous time. The network is that of
configs/mnist.py.

References:
    Kingma et al., Variational Diffusion Models, 2021.
"""

from ml_collections import ConfigDict

from configs.mnist import get_config as get_mnist


def get_config(variant: str = "full") -> ConfigDict:
    if variant not in ("full", "smoke"):
        raise ValueError(f"the variants of configs/vdm.py are full and smoke, got {variant!r}")
    config = get_mnist(variant)
    config.objective = "vdm"
    config.sde.name = "learned_vp"
    config.sde.t_min = None
    config.sde.t_max = None
    config.sde.log_snr_max = 10.0
    config.sde.log_snr_min = -6.0
    config.optimizer.learning_rate = 0.01
    config.sampling.s_min = None  # the schedule's own ends
    config.sampling.s_max = None
    if variant == "smoke":
        config.likelihood.draws = 4
    return config
