"""The code of README and docs runs as it stands there, block after block."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
# What each page's code ends with, and its shape.
PAGES = {
    "README.md": {"samples": (500, 2), "log_prob": (100,)},
    "docs/evaluation.md": {"mean": (27,)},
    "docs/few_step.md": {"continuous": (64,), "trained": (64,), "path": (64, 2)},
    "docs/inverse.md": {"x": (1, 1, 8, 8, 1)},
    "docs/likelihood.md": {"bits": (4,), "images": (4, 28, 28, 1)},
    "docs/maximum_likelihood.md": {"raw": (64, 2)},
    "docs/networks.md": {"images": (4, 28, 28, 1)},
    "docs/objectives.md": {"loss": (64,), "sliced": (64,)},
    "docs/operators.md": {"found": (64, 64, 1)},
    "docs/sampling.md": {"x": (16, 2)},
}


SLOW = ["docs/few_step.md", "docs/inverse.md", "docs/likelihood.md", "docs/maximum_likelihood.md", "docs/operators.md"]


@pytest.mark.parametrize("page", [pytest.param(p, marks=pytest.mark.slow) if p in SLOW else p for p in PAGES])
def test_code_blocks_run(page):
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    for number, block in enumerate(blocks):
        exec(compile(block, f"{page}, block {number}", "exec"), names)
    for name, shape in PAGES[page].items():
        assert names[name].shape == shape
        assert bool(abs(names[name]).max() < 1e3)
