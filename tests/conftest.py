"""What every test runs under."""

import os

# Set before JAX starts: one thread pool a worker is enough, and eight devices exist for the sharding tests.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")

import jax

jax.config.update("jax_numpy_rank_promotion", "allow")
