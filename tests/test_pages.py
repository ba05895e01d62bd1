"""Numbers in the text of README and docs: each with a reference is looked up in the stored tables.

python tests/test_pages.py writes them anew from the tables.

A reference is a comment behind a number or an interval, which a reader of the page does not see:

    0.46<!--grids/grounded/03_rows; metric=R@1 image to report; method=grounded; value-->
    [0.41, 0.51]<!--grids/grounded/03_rows; metric=R@1 image to report; method=grounded; ci_low, ci_high-->
"""

import re
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "papermill_runs" / "reference"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NUMBER = r"[+-]?\d*\.?\d+"
CITED = re.compile(rf"({NUMBER}|\[{NUMBER}, {NUMBER}\])<!--([^>]+;[^>]+)-->")
CHECKED = ("docs/ablations.md",)  # pages in which every share, difference and interval has a reference


def look_up(reference: str) -> list[float]:
    """The values that a reference names. AssertionError when it does not name one row."""
    file, *conditions, columns = (part.strip() for part in reference.split(";"))
    table = pd.read_csv(REFERENCE / f"{file}.csv", dtype=str)
    for condition in conditions:
        column, _, value = condition.partition("=")
        table = table[table[column] == value]
    assert len(table) == 1, f"{reference}: {len(table)} rows"
    return [float(table[column].iloc[0]) for column in map(str.strip, columns.split(","))]


def rounds_to(value: float, text: str) -> bool:
    decimals = len(text.partition(".")[2])
    return abs(abs(value) - abs(float(text))) <= 0.5001 * 10**-decimals and (
        not text.startswith(("+", "-")) or (value < 0) == (text[0] == "-") or float(text) == 0
    )


def renewed(page: Path) -> str:
    """The page with each number that has a reference as the tables have it now, with as many decimals. The words around it are
    for a reader to check."""

    def write(match: re.Match) -> str:
        values = iter(look_up(match[2]))

        def number(old: re.Match) -> str:
            decimals = len(old[0].partition(".")[2])
            sign = "+" if old[0].startswith(("+", "-")) else ""
            return f"{next(values):{sign}.{decimals}f}"

        return f"{re.sub(NUMBER, number, match[1])}<!--{match[2]}-->"

    return re.sub(CITED, write, page.read_text())


def cited(page: Path) -> list[tuple[str, str]]:
    return CITED.findall(page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_numbers_with_a_reference_are_those_of_the_stored_tables(page):
    wrong = []
    for text, reference in cited(page):
        shown, values = re.findall(NUMBER, text), look_up(reference)
        if len(shown) != len(values) or not all(map(rounds_to, values, shown)):
            wrong.append(f"{text} is {values} by {reference}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", CHECKED)
def test_every_share_of_the_page_has_a_reference(name):
    """What has two decimals or more, outside of generated parts and of what is marked as earlier."""
    text = (ROOT / name).read_text()
    text = re.sub(r"<!-- (\w+): .*?<!-- end of \1 -->", "", text, flags=re.S)
    bare = re.sub(CITED, "", text)
    assert len(CITED.findall(text)) > 20
    assert not re.findall(r"(?<![\d.])[+-]?\d*\.\d{2,}", re.sub(r"\]\([^)]*\)|`[^`]*`", "", bare))


def test_a_wrong_number_would_be_found():
    assert rounds_to(0.4619, "0.46")
    assert rounds_to(-0.1796, "-0.18")
    assert rounds_to(0.0874, "0.087")
    assert not rounds_to(0.4619, "0.47")
    assert not rounds_to(-0.1796, "+0.18")
    with pytest.raises(AssertionError, match="0 rows"):
        look_up("grids/grounded/03_rows; metric=R@1 image to report; method=nobody; value")


def test_renewed_numbers_are_those_of_the_tables():
    for page in PAGES:
        assert not [
            r
            for text, r in CITED.findall(renewed(page))
            if not all(map(rounds_to, look_up(r), re.findall(NUMBER, text)))
        ]


if __name__ == "__main__":
    for one in PAGES:
        one.write_text(renewed(one))
