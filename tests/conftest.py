"""What every test runs under."""

import os

from processes import HURRIED

# Set before JAX starts: eight devices exist for the sharding tests, and compilers hurry, since tests compile far more
# than they compute (a quarter of the suite's time).
os.environ.setdefault("XLA_FLAGS", f"--xla_force_host_platform_device_count=8 {HURRIED}")

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "allow")

MAPS = "/proc/self/maps"  # Linux alone has it


@pytest.fixture(autouse=True)
def few_memory_maps():
    """Forget compiled programs before there are too many: each takes memory maps, of which Linux allows 65,530."""
    yield
    if os.path.exists(MAPS):
        with open(MAPS) as maps:
            count = sum(1 for _ in maps)
        if count > 20_000:
            jax.clear_caches()
