"""Published and own checkpoints -> networks with parameters, ready to sample, score and train further."""

from sgm_jax.convert.consistency import consistency as consistency
from sgm_jax.convert.denoiser import Denoiser as Denoiser
from sgm_jax.convert.diffusers import diffusers as diffusers
from sgm_jax.convert.edm import edm as edm
from sgm_jax.convert.inception import InceptionWeights as InceptionWeights
from sgm_jax.convert.inception import inception as inception
from sgm_jax.convert.load import load as load
from sgm_jax.convert.ncsn import ncsn as ncsn
from sgm_jax.convert.pretrained import Pretrained as Pretrained
from sgm_jax.convert.score_sde import score_sde_flax as score_sde_flax
from sgm_jax.convert.score_sde import score_sde_pytorch as score_sde_pytorch
