"""The two variants of every experiment of a paper: `full`, and `smoke`, a tiny network on generated data."""

from ml_collections import ConfigDict

from configs.default import get_config as get_default
from configs.default import shrink

SIZE = 16  # height of the images of smoke variants


def finish(config: ConfigDict, variant: str, *, channels: int = 3) -> ConfigDict:
    """Return the `full` config as it is, or its `smoke` variant: two training steps, and data that need no download.

    Variants `smoke` that differ by their sizes alone are one program, compiled once where programs are kept.

    Args:
        config: the full config.
        variant: full or smoke.
        channels: of the images.

    Raises:
        ValueError: if the variant is another.
    """
    if variant not in ("full", "smoke"):
        raise ValueError(f"the variants are full and smoke, got {variant!r}")
    if variant == "smoke":
        steps = config.sampling.steps
        config.published = get_default().published
        generate(config, channels)
        shrink(config)
        NETWORKS[config.network.name](config)
        # DDPM's chain exists for more than 20 steps; adaptive steps have no number.
        config.sampling.steps = None if steps is None else 24 if config.sde.name == "vp" else 4
        if steps is None:
            config.sampling.rtol = config.sampling.atol = 0.1
        config.optimizer.warmup = 1
        config.optimizer.learning_rate = 1e-3
        config.train.ema_rate = 0.5
        config.train.steps = 2
        config.train.batch_size = 8  # divided by the devices of most machines
        config.train.log_every = 1
        config.train.eval_every = 2
        config.train.eval_examples = 4
        config.train.checkpoint_every = 2
        config.sampling.count = 2
        config.sampling.batch_size = 2
        config.likelihood.count = 2
        config.likelihood.batch_size = 2
        config.likelihood.repeats = 1
        config.likelihood.rtol = config.likelihood.atol = 0.1
        config.inverse.count = 1
        config.evaluation.features = "points"  # which need neither labels nor weights
    elif config.published.fid is not None:
        config.evaluation.features = "inception"
        config.evaluation.metrics = ("fid", "inception_score")
    return config


def generate(config: ConfigDict, channels: int) -> None:
    """Put small generated images of the same channels and classes in the place of the data."""
    low, high = config.data.low, config.data.high
    config.data = get_default().data
    config.data.low, config.data.high = low, high
    config.data.name = "generated"
    config.data.size = SIZE
    config.data.channels = channels
    config.data.count = 16
    config.data.num_classes = config.network.get("num_classes")


def _unet(config):
    config.network.multipliers = (1, 1)
    config.network.blocks = 1
    config.network.attention = ()
    if "head_channels" in config.network:
        config.network.head_channels = 8


def _refinenet(config):
    config.network.channels = 4
    config.network.multipliers = (1, 2)
    config.network.dilations = (1, 1)
    config.sampling.corrector_steps = 1


def _dit(config):
    del config.network.channels  # which all other networks have, and multipliers
    del config.network.multipliers
    config.network.width = 32
    config.network.depth = 2
    config.network.heads = 2


def _vdm(config):
    del config.network.multipliers  # which all other networks have
    config.network.layers = 1


NETWORKS = {"dit": _dit, "unet": _unet, "vdm": _vdm} | dict.fromkeys(
    ("ncsn", "ncsnv2", "ncsnv2_deeper", "ncsnv2_deepest"), _refinenet
)
