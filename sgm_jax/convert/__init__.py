"""Published and own checkpoints -> networks with parameters, ready to sample, score and train further."""

from sgm_jax.convert.ncsn import ncsn as ncsn
from sgm_jax.convert.pretrained import Pretrained as Pretrained
