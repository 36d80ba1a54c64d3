"""Reports: what a run made, as pictures and one self-contained HTML page."""

from sgm_jax.report.images import animation, grid, png, save_png
from sgm_jax.report.page import Report, write

__all__ = ["Report", "animation", "grid", "png", "save_png", "write"]
