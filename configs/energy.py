"""An energy in the plane: a network whose score is the gradient of a scalar, by any form of score matching.

    python launch.py --config=configs/energy.py
    python launch.py --config=configs/energy.py --config.matching.name=sliced_vr

The network `energy_mlp` is the gradient of `-1/2 |x - f(x)|**2`; its Jacobian is symmetric, so that it conserves what
a free-form network need not (sgm_jax.energy.asymmetry measures by how much).

References:
    Salimans and Ho, Should EBMs Model the Energy or the Score?, 2021.
    Song and Kingma, How to Train Your Energy-Based Models, 2021.
"""

from ml_collections import ConfigDict

from configs.toy import get_config as get_toy


def get_config(variant: str = "full") -> ConfigDict:
    if variant not in ("full", "smoke"):
        raise ValueError(f"the variants of configs/energy.py are full and smoke, got {variant!r}")
    config = get_toy(variant)
    config.data.name = "pinwheel"
    config.network.name = "energy_mlp"
    config.sde.t_min = 0.02
    return config
