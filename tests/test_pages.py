"""Numbers in the text of README and docs: each with a reference is looked up in the stored tables.

python tests/test_pages.py writes them anew from the tables.

A reference is a comment behind a number, a number word or an interval, which a reader of the page does not see: a table below
papermill_runs/reference, conditions on its columns (= with * for any text, !=, < and > with a number or another column), and the
column of the one row that is left, or how many rows are left. Signs count: a number without one is positive.

    0.46<!--grids/grounded/03_rows; metric=R@1 image to report; method=grounded; value-->
    [0.41, 0.51]<!--grids/grounded/03_rows; metric=R@1 image to report; method=grounded; ci_low, ci_high-->
    two<!--grids/paper/03_rows; metric=exchange*; ci_low>chance; count-->
"""

import json
import operator
import re
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "papermill_runs" / "reference"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WORDS = ["none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
NUMBER = r"[+\-−]?(?:\d{1,3}(?:,\d{3})+|\d*\.?\d+)"  # 1,014 or .52
VALUE = rf"{NUMBER}|\b(?i:{'|'.join(WORDS)})\b"
CITED = re.compile(rf"({VALUE}|\[{NUMBER}, {NUMBER}\])<!--((?:(?!-->).)+;(?:(?!-->).)+)-->")
CONDITION = re.compile(r"(.+?)(!=|=|<|>)(.*)")
SHARE, COUNT = r"\d*\.\d{2,}", r"\d{2,}|\d{1,3}(?:,\d{3})+"
CHECKED = {"README.md": SHARE} | dict.fromkeys(
    ("docs/ablations.md", "docs/grounded.md"), rf"{SHARE}|{COUNT}"
)  # numbers of a page that need a reference
NO_TABLE = {  # numbers of these pages that stand in no table, and why
    "Python 3.11": "a version",
    "arXiv 2506.01902": "a name",
    "1.27 times its encoders (the large one 1.01)": "1 / ratio of the table above it",
    "(95 %)": "level of the intervals",
    "p < .05": "prdlib/evaluation/statistics.py, SURE",
    "three of 21,600 draws; three million draws of the same give 0.06": "200 draws a comparison; drawn once again, by hand",
    "more than 0.97": "the bound of the count before it",
    "random vectors come to 41 %": "of the released rule: README, Fidelity",
    "notebook 03": "a name",
    "batches of 32": "setting of a row, prdlib/grids",
    "a batch of 32": "the same",
    "A batch of 128": "the same",
    "scale from 100": "the same",
    "100 pieces": "the same",
    "29 % of what is said": "counted in the phantom's training reports, prdlib/grids/word_pieces.yaml",
    "tau 30": "the same",
    "T 0.75": "the same",
    "CLIP with 13 epochs": "the same",
    "stride 16": "the default, prdlib/settings.py",
    "films of 96 px": "prdlib/profiles/openi.yaml and cpu.yaml",
    "epochs of 3,000 pairs": "prdlib/profiles/cpu.yaml, rounded",
    "3,000 training pairs": "the same",
    "its 228 words": "counted in the phantom's training reports",
    "56 of them": "of 03_outcomes, test_studies_that_both_splits_ask",
    "on the 56": "the same",
}


@cache
def table_of(path: Path) -> pd.DataFrame:
    """A stored CSV, as text; where there is none, a JSON file as its one row."""
    if path.is_file():
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    return pd.DataFrame([json.loads(path.with_suffix(".json").read_text())]).astype(str)


def chosen(table: pd.DataFrame, condition: str) -> pd.DataFrame:
    """The rows that a condition leaves. AssertionError for a text that no row has: a count of 0 is then no slip of the pen."""
    column, sign, value = CONDITION.fullmatch(condition).groups()
    if sign == "!=":
        return table[table[column] != value]
    if sign == "=":
        table = table[[fnmatchcase(cell, value) for cell in table[column]]]
        assert len(table), f"{condition}: 0 rows"
        return table
    than = table[value] if value in table else pd.Series(value, table.index)
    compare = {"<": operator.lt, ">": operator.gt}[sign]
    return table[compare(pd.to_numeric(table[column], errors="coerce"), pd.to_numeric(than, errors="coerce"))]


def look_up(reference: str) -> list[float]:
    """The values that a reference names. AssertionError when it does not name one row, or a count."""
    file, *conditions, columns = (part.strip() for part in reference.split(";"))
    table = table_of(REFERENCE / f"{file}.csv")
    for condition in conditions:
        table = chosen(table, condition)
    if columns == "count":
        return [len(table)]
    assert len(table) == 1, f"{reference}: {len(table)} rows"
    return [float(table[column].iloc[0]) for column in map(str.strip, columns.split(","))]


def rounds_to(value: float, text: str) -> bool:
    word = text.lower()
    number = WORDS.index(word) if word in WORDS else float(text.replace("−", "-").replace(",", ""))
    return abs(value - number) <= 0.5001 * 10 ** -len(text.partition(".")[2])


def written(value: float, old: str) -> str:
    """The value in the form of the old text: a word, or as many decimals, a plus sign, thousands, the same minus."""
    if old.lower() in WORDS and round(value) < len(WORDS):
        word = WORDS[round(value)]
        return word.capitalize() if old[0].isupper() else word
    sign, thousands = "+" if old[0] in "+-−" else "", "," if "," in old else ""
    new = f"{value:{sign}{thousands}.{len(old.partition('.')[2])}f}"
    return new.replace("-", "−") if "−" in old else new


def renewed(text: str) -> str:
    """The text with each number that has a reference as the tables have it now. The words around it are for a reader to check."""

    def write(match: re.Match) -> str:
        values = iter(look_up(match[2]))
        return re.sub(VALUE, lambda old: written(next(values), old[0]), match[1]) + f"<!--{match[2]}-->"

    return re.sub(CITED, write, text)


def wrong(text: str) -> list[str]:
    """What a reference of the text does not have."""
    found = []
    for shown, reference in CITED.findall(text):
        parts, values = re.findall(VALUE, shown), look_up(reference)
        if len(parts) != len(values) or not all(map(rounds_to, values, parts)):
            found.append(f"{shown} is {values} by {reference}")
    return found


def bare(text: str, kind: str) -> list[str]:
    """Numbers without a reference, outside of generated parts, of what is marked as earlier, of links and code."""
    text = re.sub(r"<!-- (\w+): .*?<!-- end of \1 -->|```.*?```", "", text, flags=re.S)
    text = re.sub(r"\]\([^)]*\)|`[^`]*`", "", re.sub(CITED, "", text))
    for known in NO_TABLE:
        text = text.replace(known, "")
    return re.findall(rf"(?<![\w.,@])[+\-−]?(?:{kind})(?![\w%])", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_numbers_with_a_reference_are_those_of_the_stored_tables(page):
    text = page.read_text()
    assert not wrong(text), "\n".join(wrong(text))
    assert not wrong(renewed(text))


@pytest.mark.parametrize("name", CHECKED)
def test_every_number_of_the_page_has_a_reference(name):
    text = (ROOT / name).read_text()
    assert len(CITED.findall(text)) > 20
    assert not bare(text, CHECKED[name])


def test_numbers_without_a_table_are_on_a_page():
    text = "".join((ROOT / name).read_text() for name in CHECKED)
    assert not [known for known in NO_TABLE if known not in text]


def test_studies_that_both_splits_ask():
    """By image and by patient: the count of docs/ablations.md."""
    outcomes = pd.read_csv(REFERENCE / "grids" / "paper" / "03_outcomes.csv.xz")
    asked = outcomes[outcomes["metric"] == "R@1 image to report"].groupby("method")["query"].agg(set)
    assert len(asked["split by image"] & asked["prd"]) == 56


def test_grids_without_hashes_of_weights_are_those_that_the_readme_names():
    """README, Results: these have some, no other table of trainings has one."""
    tables = {path.parent.name: pd.read_csv(path) for path in REFERENCE.rglob("03_cells.csv")}
    assert {name for name, table in tables.items() if "weights" in table} == {
        *("paper", "leave_one_out", "openi", "cpu", "word_pieces")
    }


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A small table in place of the reference results."""
    monkeypatch.setitem(globals(), "REFERENCE", tmp_path)
    table = pd.DataFrame(
        {"metric": ["R@1", "exchange, side", "exchange, zone"], "value": [-0.0276, 0.66, 0.47], "chance": [0.0, 0.5, 0.5],
         "n": [1014, 90, 56], "weights": ["ab", None, "cd"]}
    )  # fmt: skip
    table.to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "fit.json").write_text('{"studies": 2971, "settings": {}}')


@pytest.mark.parametrize(
    ("right", "mutations"),
    [
        ("-0.028<!--rows; metric=R@1; value-->", ["0.028", "+0.028", "-0.029"]),
        ("−0.028<!--rows; metric=R@1; value-->", ["−0.027", "0.028"]),
        ("0.66<!--rows; metric=exchange, side; value-->", ["-0.66", "0.67"]),
        ("[-0.03, 0.00]<!--rows; metric=R@1; value, chance-->", ["[0.03, 0.00]", "[-0.03, 0.01]"]),
        ("1,014<!--rows; metric=R@1; n-->", ["1,015", "1015", "-1,014"]),
        ("two<!--rows; metric=exchange*; count-->", ["three", "none", "3"]),
        ("One<!--rows; metric=exchange*; value>chance; count-->", ["Two", "none"]),
        ("none<!--rows; metric=R@1; value>0; count-->", ["one"]),
        ("2<!--rows; weights!=; count-->", ["3", "one"]),
        ("56<!--rows; value<chance; metric=exchange*; n-->", ["57", "90"]),
        ("2,971<!--fit; studies-->", ["2,970"]),
    ],
)
def test_a_wrong_sign_count_or_word_would_be_found(stored, right, mutations):
    assert not wrong(right)
    assert renewed(right) == right
    reference = right.partition("<!--")[2]
    for other in mutations:
        assert wrong(f"{other}<!--{reference}"), other


@pytest.mark.parametrize(
    ("old", "new"), [("0.03", "-0.03"), ("+0.030", "-0.028"), ("−0.1", "−0.0"), ("[0.03, 0.10]", "[-0.03, -0.03]")]
)
def test_a_renewed_number_has_the_form_of_the_old_one(stored, old, new):
    columns = "value, value" if "[" in old else "value"
    assert renewed(f"{old}<!--rows; metric=R@1; {columns}-->") == f"{new}<!--rows; metric=R@1; {columns}-->"


@pytest.mark.parametrize(
    "reference", ["rows; metric=R@2; value", "rows; metric=exchange*; value", "rows; metric=R@2; count"]
)
def test_a_reference_that_names_no_row_is_an_error(stored, reference):
    with pytest.raises(AssertionError, match="rows"):
        look_up(reference)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("of 96 intervals two lie above chance", ["96"]),
        ("in 371 pairs, 1,014 phrases and .52 of them", ["371", "1,014", ".52"]),
        ("a difference of -0.028 [-0.05, -0.01]", ["-0.028", "-0.05", "-0.01"]),
        ("R@10, bf16, T 0.1, 5 options, intervals (95 %), batches of 32", []),
        ("`0.52` of [tables](03_rows.csv), 0.52<!--rows; metric=R@1; value-->", []),
        ("<!-- paper: generated --> 0.52 <!-- end of paper -->", []),
    ],
)
def test_numbers_without_a_reference_are_found(text, found):
    assert bare(text, CHECKED["docs/ablations.md"]) == found


if __name__ == "__main__":
    for one in PAGES:
        one.write_text(renewed(one.read_text()))
