"""README: the settings table is the dataclasses', the results are the reference runs', links and commands exist.

``python tests/test_readme.py`` rewrites both tables.
"""

import re
from pathlib import Path

import pandas as pd

from prdlib.config import METHODS, reference

ROOT = Path(__file__).parents[1]
MARKS = "<!-- settings: generated from the dataclasses by tests/test_readme.py -->", "<!-- end of settings -->"

RESULTS = "<!-- results: generated from papermill_runs/reference by tests/test_readme.py -->", "<!-- end of results -->"
REFERENCE = ROOT / "papermill_runs" / "reference"


def results_tables() -> str:
    """One table per reference run: the ablation's summary, then the mean AUROC of the downstream tests."""
    return "\n\n".join(results_table(folder) for folder in sorted(REFERENCE.iterdir()) if folder.is_dir())


def results_table(folder: Path) -> str:
    summary = pd.read_csv(folder / "summary.csv", dtype=str)
    methods = [m for m in METHODS if m in summary]
    rows = [f"**Profile {folder.name}** ([all tables and plots](papermill_runs/reference/{folder.name}))", ""]
    rows += ["| test | chance | n | seeds | " + " | ".join(methods) + " |", "|---" * (4 + len(methods)) + "|"]
    for _, row in summary.iterrows():
        rows.append("| " + " | ".join(row[["metric", "chance", "n", "seeds", *methods]]) + " |")
    for name in ("zero_shot", "linear_probe"):
        table = pd.read_csv(folder / f"05_{name}.csv")
        mean = table[table["label"] == "mean"].set_index("series")
        cells = [f"{r.value:.3f} [{r.ci_low:.3f}, {r.ci_high:.3f}]" for r in (mean.loc[m] for m in methods)]
        title = name.replace("_", " ") + f" AUROC, mean of {table['label'].nunique() - 1} labels"
        if "untrained" in mean.index:
            title += f" (untrained {mean.loc['untrained', 'value']:.3f})"
        rows.append(f"| {title} | 0.5 | {int(mean['n'].iloc[0])} | 1 | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def settings_table() -> str:
    rows = ["| setting | default | values | meaning |", "|---|---|---|---|"]
    for row in reference():
        default = ", ".join(map(str, row["default"])) if isinstance(row["default"], list) else row["default"]
        default = f"{default:.4g}" if isinstance(default, float) else default
        rows.append(f"| `{row['setting']}` | {default} | {row['range']} | {row['help']} |")
    return "\n".join(rows)


def between(marks: tuple[str, str]) -> str:
    return (ROOT / "README.md").read_text().split(marks[0])[1].split(marks[1])[0].strip()


def test_settings_table_is_the_dataclasses():
    assert between(MARKS) == settings_table()


def test_results_are_those_of_the_reference_runs():
    assert between(RESULTS) == results_tables()


def test_links_inside_the_project_exist():
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / link).exists(), link


def test_make_targets_that_are_named_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`make (\w+)", (ROOT / "README.md").read_text())):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


if __name__ == "__main__":
    text = (ROOT / "README.md").read_text()
    for (start, end), table in ((MARKS, settings_table()), (RESULTS, results_tables())):
        text = text.replace(text[text.index(start) : text.index(end)], f"{start}\n{table}\n")
    (ROOT / "README.md").write_text(text)
