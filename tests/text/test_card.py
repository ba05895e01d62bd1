"""The card's table of edits is the registry's. ``python tests/text/test_card.py`` renews it."""

from pathlib import Path

from prdlib.text import PERTURBATIONS

CARD = Path(__file__).parents[2] / "prdlib" / "evaluation" / "structure_card.md"
MARKS = "<!-- edits: generated from prdlib.text.PERTURBATIONS by tests/text/test_card.py -->", "<!-- end of edits -->"


def table() -> str:
    rows = ["| edit | family | what it changes | same words | ReXErr |", "|---|---|---|---|---|"]
    for entry in PERTURBATIONS.values():
        same = "yes" if entry.keeps_words else ""
        rows.append(f"| `{entry.name}` | {entry.family.replace('_', ' ')} | {entry.changes} | {same} | {entry.error} |")
    return "\n".join(rows)


def test_the_table_of_edits_is_the_registry():
    text = CARD.read_text()
    assert text.split(MARKS[0])[1].split(MARKS[1])[0].strip() == table()


if __name__ == "__main__":
    text = CARD.read_text()
    start, end = text.index(MARKS[0]), text.index(MARKS[1])
    CARD.write_text(f"{text[:start]}{MARKS[0]}\n{table()}\n{text[end:]}")
