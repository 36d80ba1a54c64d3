"""Which packages a wheel holds: the library, and the config files of `configs/` as `sgm_jax.configs`; see setup.cfg."""

from setuptools import find_namespace_packages, find_packages, setup

configs = ["sgm_jax.configs", *(f"sgm_jax.configs.{name}" for name in find_namespace_packages("configs"))]
setup(
    packages=[*find_packages(include=["sgm_jax", "sgm_jax.*"]), *configs],
    package_dir={"sgm_jax.configs": "configs"},
)
