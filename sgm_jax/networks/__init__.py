"""Networks: flax.linen modules `(noise label, x, label) -> array` that know no SDE."""

from sgm_jax.networks.conservative import Conservative as Conservative
from sgm_jax.networks.mlp import MLP as MLP
from sgm_jax.networks.unet import UNet as UNet
