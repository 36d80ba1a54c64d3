"""The README's own code runs as it stands there."""

import pathlib
import re

import pytest

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_code_blocks_run(number):
    names = {}
    exec(compile(BLOCKS[number], f"README.md, block {number}", "exec"), names)
    assert names["samples"].shape == (500, 2) and names["log_prob"].shape == (100,)
