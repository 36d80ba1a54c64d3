"""Images of your own, from a folder or a zip archive:

`python launch.py --config=configs/images.py --config.data.path=FOLDER --config.data.size=64 --workdir=runs/images`

Network, largest noise level and batch are sized to the images and the machine when the run starts, and kept in its
`sizing.json`; a field that is given on the command line stays as it is given. Sub-folders or `--config.data.labels=CSV`
give labels; `:smoke` runs everything in a minute, on photographs that come with scikit-learn, or on yours with
`--config.data.name=folder` besides.

References:
    Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs.mnist import get_config as get_mnist


def get_config(variant: str = "full") -> ConfigDict:
    if variant not in ("full", "smoke"):
        raise ValueError(f"the variants of configs/images.py are full and smoke, got {variant!r}")
    config = get_mnist(variant)
    config.sizing = "data"
    config.data.name = "folder"
    config.train.augmentation = "flip"
    for section, field, kind in (
        ("network", "patch", int),
        ("network", "channels", int),
        ("network", "multipliers", tuple),
        ("network", "blocks", int),
        ("network", "attention", tuple),
        ("sde", "t_max", float),
        ("sampling", "s_max", float),
        ("prediction", "sigma_data", float),
        ("weighting", "sigma_data", float),
        ("likelihood", "data_scale", float),
        ("times", "mean", float),
        ("train", "batch_size", int),
        ("train", "steps", int),
    ):
        del config[section][field]
        config[section][field] = placeholder(kind)
    if variant == "smoke":
        config.data.name = "patches"
        config.data.size = 16
        config.network.channels = 8
        config.network.multipliers = (1,)
        config.train.steps = 40
    return config
