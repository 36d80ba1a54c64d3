"""A network from `model.safetensors` in the workdir: `python launch.py --workdir=FOLDER --mode=sample`.

Network, SDE, prediction and scaling come from the file; what to do with it stands here. Modes that need data get them
with `--config.data.name=...`.
"""

from ml_collections import ConfigDict

from configs.default import get_config as get_default


def get_config() -> ConfigDict:
    config = get_default()
    config.data.name = "none"
    config.sampling.count = 64
    config.sampling.batch_size = 16
    return config
