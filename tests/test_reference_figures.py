"""Every stored figure of the reference results is what the table beside it draws."""

import base64
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.ft2font import __freetype_version__
from PIL import Image

from prdlib.plots import DPI
from prdlib.reference_figures import stored_figures
from prdlib.repro import project_root
from prdlib.structure_plots import gain_heat_map

STORED = list(stored_figures())
# Where glyphs are drawn by another build of freetype than that of the stored pictures, edges may differ; else not one pixel.
ALLOWED = 0.0 if __freetype_version__ == "2.14.3" else 0.01


def pixels(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=DPI, format="png")
    return np.asarray(Image.open(buffer).convert("L"), dtype=int)


def differing(drawn, stored):
    """Share of pixels that the eye tells apart; a palette of 256 colours moves none so far."""
    return 1.0 if drawn.shape != stored.shape else float((np.abs(drawn - stored) > 30).mean())


def test_the_first_figure_of_the_readme_is_one_of_them():
    root = project_root()
    first = re.search(r"!\[[^]]*\]\(([^)]+)\)", (root / "README.md").read_text()).group(1)
    assert root / first in [path for path, _ in STORED]


@pytest.mark.parametrize(("path", "draw"), STORED, ids=["/".join(path.parts[-3:]) for path, _ in STORED])
def test_a_stored_figure_is_what_its_table_draws(path, draw):
    stored = np.asarray(Image.open(path).convert("L"), dtype=int)
    assert differing(pixels(draw(path.parent)), stored) <= ALLOWED, f"{path.name} is not of its table: make figures"


NOTEBOOKS = sorted((project_root() / "papermill_runs" / "reference").rglob("03_ablations.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.parent.name)
def test_the_figures_of_an_executed_notebook_are_those_beside_it(path):
    cells = json.loads(path.read_text())["cells"]
    shown = [output.get("data", {}).get("image/png") for cell in cells for output in cell.get("outputs", [])]
    shown = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("L"), dtype=int) for text in shown if text
    ]
    stored = [np.asarray(Image.open(p).convert("L"), dtype=int) for p in sorted(path.parent.glob("03_*.png"))]
    assert len(stored) >= 3
    assert len(shown) >= len(stored)
    assert [min(differing(one, picture) for one in shown) <= ALLOWED for picture in stored] == [True] * len(stored)


def test_one_changed_number_would_be_found():
    gains = pd.read_csv(project_root() / "papermill_runs/reference/cpu/structure/image_gain.csv")
    other = gains.copy()
    other.loc[0, "image_gain"] += 0.02
    assert differing(pixels(gain_heat_map(gains)), pixels(gain_heat_map(gains))) == 0
    assert differing(pixels(gain_heat_map(other)), pixels(gain_heat_map(gains))) > 0
