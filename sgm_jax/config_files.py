"""Config files: those on disk and those that come with the library, by name, wherever one works."""

import ast
import difflib
import functools
import importlib.util
import pathlib
import re
import sys
import types
from collections.abc import Iterable

from ml_collections import ConfigDict

FOLDER = pathlib.Path("configs")
_HERE = pathlib.Path(__file__).absolute().parent
# Inside of the package where it was installed from a wheel, beside it in the repository.
INSTALLED = next(path for path in (_HERE / "configs", _HERE.parent / "configs") if path.is_dir())
MAKER = "get_config"


def find(name: str) -> pathlib.Path:
    """Return a config's file: the one of that name on disk, or else the one that comes with the library.

    Raises:
        ValueError: if there is neither, with the nearest name.
    """
    path = pathlib.Path(name)
    if path.is_file():
        return path
    if path.is_relative_to(FOLDER) and (INSTALLED / path.relative_to(FOLDER)).is_file():
        return INSTALLED / path.relative_to(FOLDER)
    known = {place(pathlib.Path(full)).as_posix(): full for full in all_files()}
    stems = {pathlib.PurePath(short).name: full for short, full in reversed(known.items())}
    near = known.get(nearest(place(path).as_posix(), known) or "") or stems.get(nearest(path.stem, stems) or "")
    hint = "" if near is None else f"did you mean {near!r}? "
    raise ValueError(f"--config must name a file, got {name!r}; {hint}--mode=list lists them")


def place(config: pathlib.Path) -> pathlib.Path:
    """Return where a config is in `configs/`, its name alone for one from elsewhere; without the suffix."""
    folder = next((folder for folder in (FOLDER, INSTALLED) if config.is_relative_to(folder)), config.parent)
    return config.relative_to(folder).with_suffix("")


@functools.cache
def all_files() -> dict[str, pathlib.Path]:
    """Return the files of all configs by name, `configs/...` with slashes: the library's, and those on disk."""
    found = {
        (FOLDER / path.relative_to(folder)).as_posix(): path
        for folder in (INSTALLED, FOLDER)
        for path in folder.glob("**/*.py")
        if f"def {MAKER}(" in path.read_text()
    }
    return dict(sorted(found.items(), key=lambda item: (item[0].rpartition("/")[0], item[0])))


def listing() -> str:
    """Return all configs, each with the first sentence of its docstring, by folder, as lines to read."""
    lines, heading = [], None
    for name, path in all_files().items():
        folder, _, file = name.rpartition("/")
        if folder != heading:
            lines += ["", f"{folder}/"]
            heading = folder
        lines.append(f"  {file:<36} {summary(path)}")
    return "\n".join(lines[1:])


def summary(path: pathlib.Path) -> str:
    """Return the first sentence of a file's docstring, without the command that may follow it after a colon."""
    paragraph = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0].split())
    return re.split(r"(?<=\.)(?<! al\.)\s|:\s*(?:`|$)", paragraph)[0].rstrip(".")


def load(path: pathlib.Path, *variant: str) -> ConfigDict:
    """Return the config of a file.

    Raises:
        ValueError: if it refuses the variant, or cannot be run.
    """
    spec = importlib.util.spec_from_file_location("config", path)
    assert spec is not None and spec.loader is not None  # as the file is one of Python's
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return getattr(module, MAKER)(*variant)
    except ValueError:
        raise
    # What is wrong with somebody's file is not known beforehand.
    except Exception as error:
        line = " ".join(str(error).split())
        raise ValueError(f"config {str(path)!r} cannot be loaded: {type(error).__name__}: {line}") from error


def fields(config: ConfigDict) -> list[str]:
    """Return the dotted names of a config's fields."""
    names = []
    for name, value in config.items():
        names += [f"{name}.{field}" for field in fields(value)] if isinstance(value, ConfigDict) else [name]
    return names


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """Return the one of the allowed names that is most like `name`, None if none is like it."""
    return next(iter(difflib.get_close_matches(name, list(allowed), 1)), None)


def make_importable() -> None:
    """Let configs import each other as `configs.*`: those in the working folder, or else the library's own."""
    package = types.ModuleType("configs")
    package.__path__ = [str(FOLDER.absolute()), str(INSTALLED)]
    sys.modules["configs"] = package
