"""Planning: what an experiment takes on accelerators that need not be there."""

from sgm_jax.planning.chips import CHIPS, Chip
from sgm_jax.planning.plan import Plan, as_dict, describe, plan
from sgm_jax.planning.suggestion import Choice, suggest
from sgm_jax.planning.topology import Topology, find

__all__ = ["CHIPS", "Chip", "Choice", "Plan", "Topology", "as_dict", "describe", "find", "plan", "suggest"]
