"""What README and docs show runs: code as it stands there, block after block, commands as far as they can be read."""

import functools
import pathlib
import re
import shlex
import sys

import pytest
from absl import flags
from ml_collections import config_flags

from sgm_jax.command_line import FLAGS, MODES

ROOT = pathlib.Path(__file__).parents[1]
PAGES = sorted(str(path.relative_to(ROOT)) for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")])
TUTORIALS = sorted(path.name for path in ROOT.glob("docs/tutorials/*.py"))
# What the code of a page that runs in seconds ends with, and its shape; all other pages are slow.
QUICK = {
    "README.md": {"samples": (500, 2), "log_prob": (100,)},
    "docs/evaluation.md": {"mean": (27,)},
    "docs/objectives.md": {"loss": (64,), "sliced": (64,)},
}
SLOW = {
    "docs/few_step.md": {"continuous": (64,), "trained": (64,), "path": (64, 2)},
    "docs/inverse.md": {"x": (1, 1, 8, 8, 1)},
    "docs/likelihood.md": {"bits": (4,), "images": (4, 28, 28, 1)},
    "docs/maximum_likelihood.md": {"raw": (64, 2)},
    "docs/networks.md": {"images": (4, 28, 28, 1)},
    "docs/operators.md": {"found": (64, 64, 1)},
    "docs/sampling.md": {"x": (16, 2)},
}
ELSEWHERE = ("docs/interop.md",)  # tests/test_interop.py runs it
LAUNCHER = re.compile(r"(?:launch\.py|sgm-jax) (?=-)")
# Values that stand for a reader's own.
OWN = re.compile(r"([A-Z]+|\.\.\.|\$\w+)$")


def python_blocks(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(p, marks=[] if p in QUICK else pytest.mark.slow)
        for p in PAGES
        if python_blocks(p) and p not in ELSEWHERE
    ],
)
def test_code_blocks_run(page):
    names = {}
    for number, block in enumerate(python_blocks(page)):
        exec(compile(block, f"{page}, block {number}", "exec"), names)
    for name, shape in (QUICK | SLOW).get(page, {}).items():
        assert names[name].shape == shape
        assert bool(abs(names[name]).max() < 1e3)


def commands(page):
    """Return the arguments of every command of the launcher on a page, in blocks of code and within the text."""
    text = (ROOT / page).read_text()
    fenced = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    prose = fenced.sub("", text)
    blocks = [block for language, block in fenced.findall(text) if language in ("", "bash")]
    blocks += re.findall(r"(?:^    .*\n)+", prose, re.MULTILINE)
    lines = [line for block in blocks for line in re.sub(r"\\\n\s*", "", block).splitlines()]
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    found = [line for line in [*lines, *spans] if LAUNCHER.search(line)]
    found += [span for span in spans if span.startswith(("--config", "--mode"))]
    for command in found:
        command = re.split(r" (?:#|&|&&|\|)(?: |$)|;|\)\"? ", LAUNCHER.split(command)[-1])[0]
        yield shlex.split(command if command.count('"') % 2 == 0 else command.replace('"', ""))


@pytest.mark.parametrize("page", [page for page in PAGES if any(commands(page))])
def test_commands_name_what_there_is(page, monkeypatch):
    for arguments in commands(page):
        given = dict(argument.partition("=")[::2] for argument in arguments)
        given = {name: value for name, value in given.items() if name != "--config.FIELD" and not OWN.match(value)}
        config = given.pop("--config", "configs/mnist.py")
        fields = {name: value for name, value in given.items() if name.startswith("--config.")}
        command = [
            f"--config={ROOT / config}",
            *(f"{name}={value}" for name, value in fields.items() if value not in ("", "None")),
        ]
        monkeypatch.setattr(sys, "argv", ["launch.py", *command])  # where config_flags looks for fields
        values = flags.FlagValues()
        config_flags.DEFINE_config_file("config", None, lock_config=True, flag_values=values)
        values(sys.argv)  # raises if there is no such config, variant or field, or a value is of another type
        for name in fields:
            functools.reduce(getattr, name.removeprefix("--config.").split("."), values["config"].value)
        switches = {name.removeprefix("--") for name in given.keys() - fields.keys()}
        assert {name.removeprefix("no") for name in switches} <= {flag.removeprefix("no") for flag in FLAGS}, arguments
        assert given.get("--mode", "run") in MODES, arguments


@pytest.mark.parametrize("name", TUTORIALS)
def test_tutorials_make_the_pictures_that_they_show(name):
    script = (ROOT / "docs" / "tutorials" / name).read_text()
    shown = set(re.findall(r"\.\./images/(\S+\.png)", script))
    assert shown and shown <= set(re.findall(r'FIGURES / "(\S+\.png)"', script))
    assert all((ROOT / "docs" / "images" / picture).is_file() for picture in shown)
