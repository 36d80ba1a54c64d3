"""Small trained networks that come with the library."""

import importlib.resources

from sgm_jax.convert.pretrained import Pretrained
from sgm_jax.naming import choose


def pretrained(name: str) -> Pretrained:
    """Load a network that comes with the library.

    Args:
        name: its name, that of a file in `sgm_jax/convert/weights`.

    Raises:
        ValueError: if there is none of that name, listing those there are.
    """
    files = _files()
    if not files:
        raise ValueError(f"name must be that of a shipped network, of which there are none here, got {name!r}")
    with importlib.resources.as_file(choose("name", name, files)) as path:
        return Pretrained.load(path)


def names() -> tuple[str, ...]:
    """Return the names of the networks that come with the library."""
    return tuple(_files())


def _files():
    folder = importlib.resources.files("sgm_jax.convert") / "weights"
    files = sorted(folder.iterdir(), key=lambda file: file.name) if folder.is_dir() else []
    return {file.name.removesuffix(".safetensors"): file for file in files if file.name.endswith(".safetensors")}
