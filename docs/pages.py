"""What mkdocs makes of this folder besides its pages: the README as the first one, tutorials, and the reference.

A hook of `mkdocs.yml`. Tutorials are scripts in jupytext's percent format: their comments become text, the rest code.
The reference has a page a room of the library, written by mkdocstrings from its docstrings.
"""

import pathlib
import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = pathlib.Path(__file__).parents[1]
ROOMS = {
    "sde": "SDEs",
    "learned_schedule": "Learned schedules",
    "score": "Predictions and scores",
    "labels": "Noise labels",
    "objectives": "Objectives",
    "bounds": "Bounds",
    "dequantisation": "Dequantisation",
    "divergence": "Divergences",
    "energy": "Energies",
    "sampling": "Sampling",
    "likelihood": "Likelihood",
    "representation": "Latent codes",
    "guidance": "Guidance",
    "inverse": "Inverse problems",
    "networks": "Networks",
    "convert": "Checkpoints",
    "training": "Training",
    "data": "Data",
    "scaling": "Scaling",
    "evaluation": "Evaluation",
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the reference's pages into the navigation, and leave out topics that have no page."""
    sections = {title: pages for entry in config.nav if isinstance(entry, dict) for title, pages in entry.items()}
    sections["Topics"][:] = [page for page in sections["Topics"] if (ROOT / "docs" / page).is_file()]
    sections["Reference"][:] = [f"reference/{room}.md" for room in ROOMS]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made of other files."""
    made = {"index.md": (ROOT / "README.md").read_text()}
    for script in sorted(ROOT.glob("docs/tutorials/*.py")):
        made[f"tutorials/{script.stem}.md"] = tutorial(script.read_text())
    for room, title in ROOMS.items():
        made[f"reference/{room}.md"] = reference(room, title)
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def reference(room: str, title: str) -> str:
    """Return the page of a room: its docstring and all that it has, or that its `__init__` takes from elsewhere."""
    package = ROOT / "sgm_jax" / room / "__init__.py"
    names = (
        re.findall(r"^from ([\w.]+) import (\w+) as \2$", package.read_text(), re.MULTILINE)
        if package.is_file()
        else []
    )
    members = [
        f"::: {module}.{name}\n    options: {{show_root_toc_entry: true, show_root_heading: true}}"
        for module, name in names
    ]
    return "\n\n".join([f"# {title}", f"::: sgm_jax.{room}", *members]) + "\n"


def on_page_markdown(markdown: str, page, **_) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    if page.file.src_uri == "index.md":
        markdown = re.sub(r"(\]\(|src=\")docs/", r"\1", markdown)
    tutorials = "|".join(path.stem for path in ROOT.glob("docs/tutorials/*.py"))
    return re.sub(rf"({tutorials})\.py\)", r"\1.md)", markdown.replace("(../README.md", "(index.md"))


def tutorial(script: str) -> str:
    """Return a script in percent format as markdown."""
    cells = re.split(r"^# %%(.*)\n", script, flags=re.MULTILINE)[1:]
    pages = []
    for kind, body in zip(cells[::2], cells[1::2], strict=True):
        if "[markdown]" in kind:
            pages.append(re.sub(r"^# ?", "", body, flags=re.MULTILINE).strip())
        else:
            pages.append(f"```python\n{body.strip()}\n```")
    return "\n\n".join(pages) + "\n"
