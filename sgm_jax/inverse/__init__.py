"""Inverse problems: measurements of unknown data, solved with a score model that never saw them."""

from sgm_jax.inverse.masks import MASKS
from sgm_jax.inverse.replacement import Replacement, inpaint

__all__ = ["MASKS", "Replacement", "inpaint"]
