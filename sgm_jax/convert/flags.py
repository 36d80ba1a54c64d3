"""A reference's flags: its defaults where one is not given, an error where one is not known."""

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from sgm_jax.naming import unknown


def read_flags(
    what: str, config: Mapping[str, Any], defaults: Mapping[str, Any], unused: Iterable[str] = ()
) -> SimpleNamespace:
    """Return the flags of `config`, those that are absent as in `defaults`, as attributes.

    Args:
        what: what the flags are of, for the errors.
        config: the flags given.
        defaults: every flag that counts, with its default; `...` for one that must be given.
        unused: flags that may be given and change nothing.

    Raises:
        ValueError: if a flag is not known, or one that must be given is missing.
    """
    unused = set(unused)
    for name in config:
        if name not in defaults and name not in unused:
            raise unknown(f"flags of {what}", name, defaults)
    flags = {**defaults, **{name: value for name, value in config.items() if name in defaults}}
    missing = [name for name, value in flags.items() if value is ...]
    if missing:
        raise ValueError(f"config of {what} must have {', '.join(missing)}, got {', '.join(config) or 'nothing'}")
    return SimpleNamespace(**flags)


def require(name: str, value: Any, *allowed: Any) -> None:
    """Check that a flag has one of the values that are supported.

    Raises:
        ValueError: if it has another one.
    """
    if value not in allowed:
        raise ValueError(f"{name} must be {' or '.join(map(str, allowed))}, got {value}")
