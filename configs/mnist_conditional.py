"""Digits of a chosen class, the model `sgm_jax.pretrained("mnist")`.

    python launch.py --config=configs/mnist_conditional.py --workdir=runs/mnist_conditional

configs/mnist.py with a somewhat larger network that is told each digit's class, and is trained longer. What it reaches
stands in the model card sgm_jax/convert/weights/mnist.md.

References:
    Ho and Salimans, Classifier-Free Diffusion Guidance, 2022.
"""

from ml_collections import ConfigDict

from configs.mnist import get_config as get_mnist


def get_config(variant: str = "full") -> ConfigDict:
    config = get_mnist(variant)
    config.network.num_classes = 10
    config.sampling.label = "balanced"
    config.sampling.guidance = 1.3
    if variant == "full":
        config.network.channels = 28
        config.train.batch_size = 64
        config.train.steps = 2600
        config.train.ema_rate = 0.999
        config.train.checkpoint_every = 250
    return config
