"""The recipe of a notebook: short, in order, parameters that papermill reads, clean outputs; and nbval that can fail."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from papermill import inspect_notebook

ROOT = Path(__file__).parents[2]
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CELLS = {"05_downstream": 20}
LOOPS_OVER_TRAINING = re.compile(r"\b(for|while)\b.*\.(fit|train)\(")


def load(path):
    return nbformat.read(path, as_version=4)


def code(notebook):
    return [c for c in notebook.cells if c.cell_type == "code"]


def test_there_are_five_in_order():
    assert [p.stem for p in PATHS] == ["01_data", "02_pretraining", "03_ablations", "04_attention", "05_downstream"]


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
class TestRecipe:
    def test_size(self, path):
        cells = code(load(path))
        lines = [
            line for c in cells for line in c.source.splitlines() if line.strip() and not line.strip().startswith("#")
        ]
        assert len(cells) <= CELLS.get(path.stem, 15)
        assert len(lines) <= 100
        assert path.stat().st_size < 1_000_000

    def test_no_definitions_training_loops_or_shell(self, path):
        for cell in code(load(path)):
            assert not re.search(r"^\s*[!%]", cell.source, re.MULTILINE)
            nodes = list(ast.walk(ast.parse(cell.source)))
            assert not [n for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)]
            assert not LOOPS_OVER_TRAINING.search(cell.source)

    def test_order_of_the_first_cells(self, path):
        title, parameters, imports = load(path).cells[:3]
        assert title.cell_type == "markdown"
        for word in ("**Question.**", "**Inputs**", "**Outputs**", "**Time**", "**Figures**"):
            assert word in title.source
        assert "parameters" in parameters.metadata.tags
        assert "import" in imports.source
        assert "open_run(" in imports.source

    def test_papermill_reads_every_parameter(self, path):
        source = load(path).cells[1].source
        names = [line.split(":")[0] for line in source.splitlines() if line.strip()]
        known = inspect_notebook(str(path))
        assert list(known) == names
        assert all(entry["help"] for entry in known.values())
        assert ast.literal_eval(known["profile"]["default"]) == "quick"

    def test_every_code_cell_is_explained(self, path):
        kinds = [c.cell_type for c in load(path).cells]
        assert kinds.count("markdown") >= 4
        assert kinds[-2] == "markdown"

    def test_outputs_are_stored_clean_and_portable(self, path):
        notebook = load(path)
        outputs = [o for c in code(notebook) for o in c.outputs]
        assert outputs, "no outputs stored: strict nbval would compare nothing"
        assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
        text = re.sub(r'"image/png": "[^"]*"', "", json.dumps(notebook))
        assert not re.search(r"(?<![\w.])/(home|Users|root|tmp|work|mnt)/", text)

    def test_metadata_is_what_a_reader_needs(self, path):
        notebook = load(path)
        assert notebook.metadata.kernelspec == {
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
            "name": "python3",
        }
        assert not set(notebook.metadata) & {"papermill", "widgets"}
        assert not [
            c
            for c in notebook.cells
            if "papermill" in c.metadata or "injected-parameters" in c.metadata.get("tags", [])
        ]

    def test_training_numbers_are_not_compared_strictly_and_the_rest_is(self, path):
        compared = [
            c for c in code(load(path)) if "nbval-ignore-output" not in c.metadata.get("tags", []) and c.outputs
        ]
        assert compared, "nothing of this notebook is compared"


@pytest.mark.parametrize(("stored", "passes"), [("2", True), ("3", False)])
def test_nbval_fails_on_a_changed_output(tmp_path, stored, passes):
    cell = nbformat.v4.new_code_cell("1 + 1", execution_count=1, id="a")
    cell.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": stored}, execution_count=1)]
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    nbformat.write(notebook, tmp_path / "x.ipynb")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    sanitize = str(ROOT / "tests" / "notebooks" / "sanitize.cfg")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval", "--nbval-sanitize-with", sanitize, "x.ipynb"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert (done.returncode == 0) == passes
