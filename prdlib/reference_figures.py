"""Figures of the reference results, drawn again from the tables beside them (make figures): no training, no checkpoint.

tests/test_reference_figures.py draws each anew and compares it with the stored picture, so that no table changes without them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from prdlib.ablation_plots import cost_benefit, difference_forest, forest
from prdlib.attention_plots import localisation_scores
from prdlib.faithfulness_plots import gains_over_controls, insertion_deletion_curves, map_correlations
from prdlib.plots import save_figure
from prdlib.repro import project_root
from prdlib.structure_plots import gain_dumbbells, gain_heat_map


def _forest(folder: Path) -> Figure:
    outcomes = pd.read_csv(folder / "03_outcomes.csv.xz")
    by_seed = outcomes.groupby(["metric", "method", "seed"])["outcome"].mean().rename("value").reset_index()
    return forest(pd.read_csv(folder / "03_rows.csv"), by_seed, rows=_asked(folder))


def _differences(folder: Path) -> Figure:
    return difference_forest(pd.read_csv(folder / "03_rows.csv"), rows=_asked(folder))


def _asked(folder: Path) -> list[str]:
    """Rows of an ablation, those without a finished training too."""
    return list(pd.read_csv(folder / "03_runs.csv")["method"])


def _cost(folder: Path) -> Figure:
    return cost_benefit(pd.read_csv(folder / "03_rows.csv"))


def _table(name: str, draw: Callable[..., Figure], **options: str) -> Callable[[Path], Figure]:
    return lambda folder: draw(pd.read_csv(folder / name), **options)


# What must be there -> name of a figure -> the figure of that folder.
DRAWN: dict[str, dict[str, Callable[[Path], Figure]]] = {
    "image_gain.csv": {
        "heat_map": _table("image_gain.csv", gain_heat_map),
        "dumbbells": _table("image_gain.csv", gain_dumbbells),
    },
    "03_outcomes.csv.xz": {"03_forest": _forest, "03_differences": _differences, "03_cost": _cost},
    "04_gains.csv": {
        "04_localisation": _table("04_localisation.csv", localisation_scores),
        "04_gains": _table("04_gains.csv", gains_over_controls),
        "04_curves": _table("04_curves.csv", insertion_deletion_curves),
        "04_correlations": _table("04_correlations.csv", map_correlations),
        "04_word_curves": _table("04_word_curves.csv", insertion_deletion_curves, unit="words"),
        "04_word_correlations": _table("04_word_correlations.csv", map_correlations),
    },
}


def stored_figures(reference: Path | None = None) -> Iterator[tuple[Path, Callable[[Path], Figure]]]:
    """(picture, what draws it from its folder) for each stored picture that has its table beside it, by path."""
    reference = reference or project_root() / "papermill_runs" / "reference"
    for table, figures in DRAWN.items():
        for folder in sorted(path.parent for path in reference.rglob(table)):
            for name, draw in figures.items():
                if (folder / f"{name}.png").is_file():
                    yield folder / f"{name}.png", draw


def main() -> int:
    """Draw all of them anew, with the facts that stand beside them."""
    for picture, draw in stored_figures():
        facts = json.loads(picture.with_suffix(".json").read_text())
        save_figure(draw(picture.parent), picture, **facts).with_suffix(
            ".pdf"
        ).unlink()  # of references the PNG alone is kept
        print(picture.relative_to(project_root()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
