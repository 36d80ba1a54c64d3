"""What importing the library costs and promises."""

import ast
import importlib.util
import pathlib
import subprocess
import sys

import sgm_jax

HEAVY = (
    "tensorflow",
    "tensorflow_datasets",
    "matplotlib",
    "sklearn",
    "mlxtend",
    "PIL",
    "torch",
    "grain",
    "orbax",
    "pandas",
)


def loaded_after(statement):
    """The heavy modules, and jax, that a fresh process has loaded after a statement."""
    script = f"import sys, sgm_jax; {statement}; print([m for m in {('jax', *HEAVY)} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return ast.literal_eval(result.stdout)


def test_import_loads_nothing():
    assert loaded_after("sgm_jax.__version__") == []


def test_the_core_loads_nothing_heavy():
    core = ("sample", "log_likelihood", "denoising_score_matching", "encode", "LearnedVP", "energy", "bounds", "VP")
    assert loaded_after("; ".join(f"sgm_jax.{name}" for name in core)) == ["jax"]


def test_every_public_name_is_there():
    stub = ast.parse(pathlib.Path(sgm_jax.__file__).with_suffix(".pyi").read_text())
    names = [name.name for node in stub.body if isinstance(node, ast.ImportFrom) for name in node.names]
    assert names == sgm_jax.__all__ and {"VP", "sample", "data", "pretrained"} < set(names) <= set(dir(sgm_jax))
    for node in stub.body[1:]:
        (name,) = (name.name for name in node.names)
        if node.module == "sgm_jax":
            assert importlib.util.find_spec(f"sgm_jax.{name}")
        elif not node.module.startswith("sgm_jax.convert"):
            assert getattr(sgm_jax, name) is not None
    assert sgm_jax.networks.UNet and sgm_jax.inverse.inpaint and sgm_jax.score.as_score is sgm_jax.as_score
