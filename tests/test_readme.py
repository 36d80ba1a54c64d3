"""The code of README and docs runs as it stands there, block after block."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGES = ("README.md", "docs/sampling.md")


@pytest.mark.parametrize("page", PAGES)
def test_code_blocks_run(page):
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    for number, block in enumerate(blocks):
        exec(compile(block, f"{page}, block {number}", "exec"), names)
    shapes = {"README.md": {"samples": (500, 2), "log_prob": (100,)}, "docs/sampling.md": {"x": (16, 2)}}[page]
    for name, shape in shapes.items():
        assert names[name].shape == shape
        assert bool(abs(names[name]).max() < 1e3)
