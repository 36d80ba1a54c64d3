"""Score-based generative modelling as pure JAX functions.

Every name here is loaded at its first use, so that importing the library costs nothing; `__init__.pyi` lists them all.
"""

import ast
import difflib
import importlib
import pathlib

_STUB = ast.parse(pathlib.Path(__file__).with_suffix(".pyi").read_text())
_IMPORTS = (node for node in _STUB.body if isinstance(node, ast.ImportFrom))
_HOMES = {alias.name: str(node.module) for node in _IMPORTS for alias in node.names}
__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str):
    if name not in _HOMES:
        near = difflib.get_close_matches(name, _HOMES, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise AttributeError(f"module 'sgm_jax' has no attribute {name!r}{hint}")
    if _HOMES[name] == "sgm_jax":
        return importlib.import_module(f"sgm_jax.{name}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__():
    return sorted({*globals(), *_HOMES})
