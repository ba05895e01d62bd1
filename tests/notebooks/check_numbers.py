"""Numbers of training that strict nbval does not compare: the committed tables against the newest quick run, with a tolerance.

Run by ``make nbval`` after the quick run. Training is repeatable on one machine to the last digit; other processors round
otherwise, and a model of seconds amplifies it, hence the tolerance. A table that changed its rows or columns fails.
"""

import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from prdlib.config import load_profile
from prdlib.runs import default_run_dir

ROOT = Path(__file__).parents[2]
TOLERANCE = 0.25  # of a share or an AUROC on about 128 studies
NUMBERS = ("value", "accuracy")


class Table(HTMLParser):
    """The rows of the first table of a page as lists of strings."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1] and self.lasttag in ("td", "th"):
            self.rows[-1][-1] += data.strip()


def stored_tables():
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, 4).cells:
            if cell.cell_type != "code" or "nbval-ignore-output" not in cell.metadata.get("tags", []):
                continue
            if "wording." in cell.source:  # shown another way than it is kept: the next test compares it
                continue
            names = re.findall(r'run\.keep\(.*"(0\d_\w+)"', cell.source)
            pages = [o["data"]["text/html"] for o in cell.outputs if "text/html" in o.get("data", {})]
            if names and pages:
                yield pytest.param(names[-1], Table(pages[-1]).rows, id=f"{path.stem}-{names[-1]}")


@pytest.mark.parametrize(("name", "rows"), stored_tables())
def test_stored_tables_are_those_of_the_quick_run_within_a_tolerance(name, rows):
    run = default_run_dir(load_profile("quick"))
    fresh = pd.read_csv(run / "metrics" / f"{name}.csv", dtype=str)
    header, body = rows[0][1:], [row for row in rows[1:] if "..." not in row]
    assert set(header) <= {*fresh.columns, "..."}, f"{name}: other columns; run 'make notebooks'"
    number = next((n for n in NUMBERS if n in header), None)
    assert body, f"{name}: no rows are stored; run 'make notebooks'"
    for row in body:
        cells = dict(zip(header, row[1:], strict=True))
        now = fresh.loc[int(row[0])]
        words = [
            c for c in header if c in fresh and not pd.to_numeric(pd.Series([cells[c]]), errors="coerce").notna().all()
        ]
        for column in (
            c for c in words if c in ("metric", "label", "test", "model", "series", "method", "input", "paraphrase")
        ):
            assert cells[column] == now[column], f"{name}, row {row[0]}: {column} is another; run 'make notebooks'"
        if number and cells[number] not in ("NaN", "nan", "<NA>", ""):
            assert abs(float(cells[number]) - float(now[number])) <= TOLERANCE, f"{name}, row {row[0]}"


def shown_tables(path):
    """Source of a cell whose numbers depend on training -> rows of the table that it shows."""
    pages = {}
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "code" and "nbval-ignore-output" in cell.metadata.get("tags", []):
            found = [o["data"]["text/html"] for o in cell.outputs if "text/html" in o.get("data", {})]
            pages |= {cell.source: Table(found[-1]).rows} if found else {}
    return pages


@pytest.mark.parametrize("name", ["03_ablations", "05_downstream"])
def test_tables_with_a_column_a_method_are_those_of_the_quick_run_within_a_tolerance(name):
    """'0.66 / 0.79; -0.13 [-0.18, -0.08]': the first number of a cell is compared (but minutes), words are equal."""
    stored = shown_tables(ROOT / "notebooks" / f"{name}.ipynb")
    fresh = shown_tables(default_run_dir(load_profile("quick")) / f"{name}.ipynb")
    compact = {source: rows for source, rows in stored.items() if "wording." in source}
    assert compact
    for source, rows in compact.items():
        assert source in fresh, f"{name}: another cell; run 'make notebooks'"
        assert [r[:2] for r in rows] == [r[:2] for r in fresh[source]], f"{name}: other rows; run 'make notebooks'"
        for old, new in zip(rows[1:], fresh[source][1:], strict=True):
            for column, was, now in zip(rows[0][2:], old[2:], new[2:], strict=True):
                first, again = (re.match(r"[-+]?\d*\.\d+", text) for text in (was, now))
                if first and again and column != "minutes":  # as measured: the load of the machine
                    assert abs(float(first[0]) - float(again[0])) <= TOLERANCE, f"{name}, {old[1]}: {was} or {now}"
                else:
                    assert bool(first) == bool(again), f"{name}, {old[1]}: {was} or {now}"


def test_outputs_are_of_todays_settings():
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        assert f"quick-{load_profile('quick').run_id.split('-')[1]}" in path.read_text(), (
            f"{path.name}: run 'make notebooks'"
        )
