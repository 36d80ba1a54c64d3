"""DiT-XL/2 on ImageNet at 256 x 256, on latents of an autoencoder: 32 x 32 x 4.

    python launch.py --config=configs/dit/imagenet_256.py --mode=train --config.data.path=latents.npz

The data are an array `x` [n, 32, 32, 4] of latents of about unit variance, with `label` [n], in one `.npz` file. The
size of the network and of its training are the paper's; the process is rectified flow, as in SiT. Sampling gives
latents, which the autoencoder turns into images.

Published: FID 2.27 (DiT-XL/2, guidance 1.5, 7,000,000 steps), 2.06 (SiT-XL/2). Not trained here.

References:
    Peebles and Xie, Scalable Diffusion Models with Transformers, 2023, table 4.
    Ma et al., SiT: Exploring Flow and Diffusion-based Generative Models with Scalable Interpolant Transformers, 2024.
"""

from ml_collections import ConfigDict

from configs.default import get_config as get_default
from configs.variants import finish
from sgm_jax.networks.dit import DIT_SIZES


def get_config(variant: str = "full") -> ConfigDict:
    config = get_default()
    config.data.name = "arrays"
    config.data.shape = (32, 32, 4)

    config.sde.name = "rectified_flow"
    config.prediction.name = "flow"

    config.network.name = "dit"
    for name, value in DIT_SIZES["XL/2"].items():
        config.network[name] = value
    config.network.label_scale = 1000.0
    config.network.num_classes = 1000
    config.network.dtype = "bfloat16"
    config.network.remat = "none"

    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 1e-4
    config.train.batch_size = 256
    config.train.steps = 7_000_000
    config.train.ema_rate = 0.9999
    config.train.label_dropout = 0.1
    config.sampling.solver = "heun"
    config.sampling.schedule = "uniform_time"
    config.sampling.steps = 125  # with two evaluations a step, the paper's 250
    config.sampling.label = "balanced"
    config.sampling.guidance = 1.5
    config.sampling.batch_size = 256

    return finish(config, variant, channels=4)
