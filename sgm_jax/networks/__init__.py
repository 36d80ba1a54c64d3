"""Networks: flax.linen modules `(noise label, x, label) -> array` that know no SDE."""

from sgm_jax.networks.conservative import Conservative as Conservative
from sgm_jax.networks.coupling import DequantisationFlow as DequantisationFlow
from sgm_jax.networks.dit import DIT_SIZES as DIT_SIZES
from sgm_jax.networks.dit import DiT as DiT
from sgm_jax.networks.mlp import MLP as MLP
from sgm_jax.networks.refinenet import RefineNet as RefineNet
from sgm_jax.networks.refinenet import ncsn as ncsn
from sgm_jax.networks.refinenet import ncsnv2 as ncsnv2
from sgm_jax.networks.refinenet import ncsnv2_deeper as ncsnv2_deeper
from sgm_jax.networks.refinenet import ncsnv2_deepest as ncsnv2_deepest
from sgm_jax.networks.unet import UNet as UNet
from sgm_jax.networks.vdm import VDMUNet as VDMUNet
from sgm_jax.networks.wide_resnet import WideResNet as WideResNet
