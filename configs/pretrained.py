"""A trained network, and what to do with it.

    python launch.py --workdir=FOLDER --mode=sample                         the one in FOLDER/model.safetensors
    python launch.py --config=configs/pretrained.py:mnist --mode=sample     one that comes with the library

Network, SDE, prediction and scaling come from the file. The data of the library's own networks are known too; modes
that need data get others with `--config.data.name=...`.
"""

from ml_collections import ConfigDict

from configs import default, mnist_conditional

SHIPPED = {"mnist": mnist_conditional}


def get_config(name: str = "") -> ConfigDict:
    if name:
        if name not in SHIPPED:
            raise ValueError(f"the networks of configs/pretrained.py are {', '.join(SHIPPED)}, got {name!r}")
        config = SHIPPED[name].get_config()
        config.pretrained = name
        config.sampling.count = 100
        return config
    config = default.get_config()
    config.data.name = "none"
    config.sampling.count = 64
    config.sampling.batch_size = 16
    return config
