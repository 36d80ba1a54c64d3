"""Names to constructors, with errors that list what is allowed and offer the nearest match."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def unknown(what: str, value: Any, allowed: Iterable[str]) -> ValueError:
    """Return the error for a name that is not among `allowed`, offering the nearest one."""
    allowed = list(allowed)
    near = difflib.get_close_matches(str(value), allowed, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return ValueError(f"{what} must be one of {', '.join(allowed)}, got {value!r}{hint}")


def choose(what: str, value: str, table: Mapping[str, Any]) -> Any:
    """Look up a name.

    Raises:
        ValueError: if `table` lacks it.
    """
    if value not in table:
        raise unknown(what, value, table)
    return table[value]


def set_options(what: str, function: Callable, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those options that are set (not None).

    Raises:
        ValueError: if one is set that `function` does not take.
    """
    given = {name: value for name, value in options.items() if value is not None}
    parameters = inspect.signature(function).parameters.values()
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        allowed = [p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY]
        for name in given:
            if name not in allowed:
                raise unknown(f"options of {what}", name, allowed)
    return given


def missing_options(function: Callable, given: Mapping[str, Any]) -> list[str]:
    """Return the options without a default that are not among those given."""
    named = [p for p in inspect.signature(function).parameters.values() if p.kind in NAMED]
    return [p.name for p in named if p.default is p.empty and p.name not in given]


def construct(what: str, constructor: Callable, options: Mapping[str, Any]) -> Any:
    """Call `constructor` with those options that are set (not None).

    Raises:
        ValueError: if an option is set that the constructor does not take, or one that it needs is not.
    """
    given = set_options(what, constructor, options)
    missing = missing_options(constructor, given)
    if missing:
        raise ValueError(f"{what} needs {' and '.join(missing)}, got None")
    return constructor(**given)
