"""README: the settings table is the dataclasses', links and commands exist.

``python tests/test_readme.py`` rewrites the table.
"""

import re
from pathlib import Path

from prdlib.config import reference

ROOT = Path(__file__).parents[1]
MARKS = "<!-- settings: generated from the dataclasses by tests/test_readme.py -->", "<!-- end of settings -->"


def settings_table() -> str:
    rows = ["| setting | default | values | meaning |", "|---|---|---|---|"]
    for row in reference():
        default = ", ".join(map(str, row["default"])) if isinstance(row["default"], list) else row["default"]
        default = f"{default:.4g}" if isinstance(default, float) else default
        rows.append(f"| `{row['setting']}` | {default} | {row['range']} | {row['help']} |")
    return "\n".join(rows)


def between(text: str) -> str:
    return text.split(MARKS[0])[1].split(MARKS[1])[0].strip()


def test_settings_table_is_the_dataclasses():
    assert between((ROOT / "README.md").read_text()) == settings_table()


def test_links_inside_the_project_exist():
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / link).exists(), link


def test_make_targets_that_are_named_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`make (\w+)", (ROOT / "README.md").read_text())):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


if __name__ == "__main__":
    path = ROOT / "README.md"
    text = path.read_text()
    path.write_text(
        text.replace(text[text.index(MARKS[0]) : text.index(MARKS[1])], f"{MARKS[0]}\n{settings_table()}\n")
    )
