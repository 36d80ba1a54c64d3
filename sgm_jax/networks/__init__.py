"""Networks: flax.linen modules `(noise label, x, label) -> array` that know no SDE."""

from sgm_jax.networks.mlp import MLP as MLP
from sgm_jax.networks.refinenet import RefineNet as RefineNet
from sgm_jax.networks.refinenet import ncsn as ncsn
from sgm_jax.networks.refinenet import ncsnv2 as ncsnv2
from sgm_jax.networks.refinenet import ncsnv2_deeper as ncsnv2_deeper
from sgm_jax.networks.refinenet import ncsnv2_deepest as ncsnv2_deepest
from sgm_jax.networks.unet import UNet as UNet
