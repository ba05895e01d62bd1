"""No setting without effect: each is read somewhere outside config.py, in the library or in a notebook."""

import ast
import json
from dataclasses import fields, is_dataclass
from pathlib import Path

from prdlib.config import RunConfig
from prdlib.settings import reference

ROOT = Path(__file__).parents[1]


def settings_read(source, groups):
    """Attributes that ``source`` reads; of a group of settings, or of a local name for one, as 'group.name'."""
    nodes = list(ast.walk(ast.parse(source)))
    local = {}
    for node in [n for n in nodes if isinstance(n, ast.Assign)]:
        target, value = node.targets[0], node.value
        several = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
        for name, part in zip(target.elts, value.elts, strict=True) if several else [(target, value)]:
            if isinstance(name, ast.Name) and isinstance(part, ast.Attribute) and part.attr in groups:
                local.setdefault(name.id, set()).add(part.attr)
    for node in [n for n in nodes if isinstance(n, ast.Attribute)]:
        owner = (
            {node.value.attr}
            if isinstance(node.value, ast.Attribute)
            else local.get(getattr(node.value, "id", ""), set())
        )
        yield from {node.attr, *(f"{group}.{node.attr}" for group in owner & groups)}


def test_every_setting_is_read_somewhere():
    groups = {f.name for f in fields(RunConfig) if is_dataclass(f.default_factory)}
    sources = [p.read_text() for p in (ROOT / "prdlib").rglob("*.py") if p.name not in ("config.py", "run_name.py")]
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        sources += ["\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")]
    read = {name for source in sources for name in settings_read(source, groups)}
    assert "evaluation.batch_size" not in read  # training's is: the test can tell them apart
    if "objective.kinds" in read:
        read.add("objective.perturbations")  # through that property
    if "training.autocast" in read:
        read.add("training.precision")
    unread = [row["setting"] for row in reference(RunConfig) if row["setting"] not in read]
    assert not unread
