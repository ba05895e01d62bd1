"""cluster/: the grid of the run and the Slurm profile name what exists; Snakemake runs, stops and goes on (with 2 cores)."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import nbformat
import psutil
import pytest
import yaml
from test_ablation import KEEP, with_grid
from test_runs import WRITE, toy, wait_for

from prdlib.config import load_profile
from prdlib.grid import LAST_TABLES, load_grid
from prdlib.plan import library_files
from prdlib.runs import status_table

ROOT = Path(__file__).parents[1]
SNAKEFILE = (ROOT / "cluster" / "Snakefile").read_text()
RULES = ("data", "pretraining", "cell", "ablations", "attention", "downstream")
GRID = {"profile": "quick", "methods": ["clip", "prd"], "seeds": [0], "grid": {"base": {}}}
TWO = {**GRID, "grid": {"base": {}, "short": {"training.epochs": 1}}}
ROWS = {"clip": {"method": "clip"}, "T 1": {"method": "prd", "objective.discrimination_weight": 1.0}}
CELLS = ["02_pretraining-clip-seed1", "02_pretraining-t-1-seed1"]
TRAINED = WRITE + "(folder / f'02_{method}-seed{seed}_scores.csv').touch()"
needs_snakemake = pytest.mark.skipif(
    find_spec("snakemake") is None,
    reason="Snakemake, which asks for older packages than requirements.lock, is not installed: pip install -e '.[cluster]'",
)


def extra() -> dict[str, str]:
    rows = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["cluster"]
    return dict(row.split("==") for row in rows)


def slurm() -> dict:
    return yaml.safe_load((ROOT / "cluster" / "slurm" / "config.yaml").read_text())


def test_the_grid_that_comes_with_the_project_is_valid():
    runs = load_grid(yaml.safe_load((ROOT / "cluster" / "config.yaml").read_text()))
    assert [run.name for run in runs.values()] == ["base", "T01"]


def test_every_rule_names_its_notebook_as_input_and_its_execution_as_log_but_a_cell():
    assert tuple(re.findall(r"^rule (\w+):", SNAKEFILE, re.MULTILINE)) == ("all", *RULES)
    rules = SNAKEFILE.split("\nrule ")[2:]
    for rule in rules:
        (source,) = re.findall(r'"(notebooks/\w+\.ipynb)"', rule)
        name = Path(source).stem
        assert (ROOT / source).is_file()
        assert rule.startswith("cell:") or re.search(
            rf'log:\n +"{{run}}/{name}(-{{method}}-seed{{seed}})?\.ipynb"', rule
        )
        assert re.search(rf'STEP \+ "{name}', rule)
        assert "        LIBRARY,\n" in rule
    assert ROOT / "prdlib" / "losses" / "local.py" in library_files()
    assert all(path.is_file() for path in library_files())


@pytest.mark.parametrize("name", sorted(LAST_TABLES))
def test_the_outputs_of_rules_are_the_last_tables_of_notebooks(name):
    source = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4)
    code = "\n".join(cell.source for cell in source.cells if cell.cell_type == "code")
    last = re.findall(r'run\.keep\(.*f?"(\d\d_\w+|\d\d_\{name\}|summary)"', code)[-1]
    assert last in (LAST_TABLES[name], "05_{name}")
    assert f'"{{run}}/metrics/{LAST_TABLES[name]}.csv"' in SNAKEFILE


def test_the_slurm_profile_is_of_the_rules_and_the_plugin():
    profile = slurm()
    assert profile["executor"] == "slurm"
    assert set(profile["set-resources"]) <= set(RULES)
    assert {rule for rule, resources in profile["set-resources"].items() if resources.get("gpu")} == {
        "pretraining", "cell", "attention", "downstream"
    }  # fmt: skip
    assert set(profile["set-threads"]) <= set(RULES)
    # The library ends a training that takes too long, and says so; a queue only kills it.
    for rule in ("pretraining", "cell"):
        assert profile["set-resources"][rule]["runtime"] * 60 > load_profile("paper").step_timeout


def test_the_extra_is_pinned_and_what_is_installed_is_that():
    pins = extra()
    assert pins["snakemake"].startswith("9.")
    assert set(pins) == {"snakemake", "snakemake-executor-plugin-slurm"}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", pin) for pin in pins.values())
    for name, pin in pins.items():
        try:
            assert version(name) == pin
        except PackageNotFoundError:
            continue


def test_the_page_names_files_and_extras_that_exist():
    page = (ROOT / "cluster" / "README.md").read_text()
    links = re.findall(r"\]\((?!http)([^)#]+)\)", page)
    assert {"Snakefile", "config.yaml", "slurm/config.yaml"} <= set(links)
    assert all((ROOT / "cluster" / link).is_file() for link in links)
    assert ".[cluster]" in page


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of toy notebooks, whose tables are empty, with this library and this Snakefile."""
    tables = {name: [table] for name, table in LAST_TABLES.items()}
    tables["03_ablations"].append("summary")
    cells = {f"n{name[:2]}": WRITE + f"for name in {names}: (folder / f'{{name}}.csv').touch()"
             for name, names in tables.items()}  # fmt: skip
    toy(tmp_path / "notebooks", **cells, n02=TRAINED)
    shutil.copytree(ROOT / "cluster", tmp_path / "cluster")
    shutil.copytree(ROOT / "prdlib", tmp_path / "prdlib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(GRID))
    return tmp_path


def start(project: Path, *options: str, **kwargs: object) -> subprocess.Popen:
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-s",
        "cluster/Snakefile",
        "--cores",
        "2",
        "--configfile",
        "grid.yaml",
    ]
    return subprocess.Popen([*command, *options], cwd=project, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            **kwargs)  # fmt: skip


def snakemake(project: Path, *options: str) -> tuple[int, str]:
    process = start(project, *options)
    output, _ = process.communicate(timeout=600)
    return process.returncode, output


def run_folders(project: Path) -> list[Path]:
    """Each once, though papermill_runs/latest is one of them."""
    return sorted({path.parent.resolve() for path in project.glob("papermill_runs/*/run.json")})


def statuses(project: Path) -> list[str]:
    """Of all steps of all runs."""
    return [status for run in run_folders(project) for status in status_table(run)["status"]]


@needs_snakemake
def test_a_grid_runs_to_its_end_and_a_second_call_has_nothing_to_do(project):
    (project / "grid.yaml").write_text(yaml.safe_dump(TWO))
    code, output = snakemake(project)
    assert code == 0, output[-3000:]
    assert "13 of 13 steps (100%) done" in output
    assert statuses(project) == ["succeeded"] * 12
    assert "Nothing to be done" in snakemake(project)[1]
    with (project / "prdlib" / "losses" / "local.py").open("a") as file:
        file.write("# edited")
    assert re.search(r"pretraining +4\n", snakemake(project, "--dry-run")[1])


@needs_snakemake
def test_a_failed_notebook_is_kept_and_what_needs_it_does_not_run_until_it_is_mended(project):
    other = toy(project / "other", n02="assert method == 'clip'\n" + TRAINED)
    mended = (project / "notebooks" / "02_pretraining.ipynb").read_text()
    shutil.copy(other / "02_pretraining.ipynb", project / "notebooks")
    code, output = snakemake(project, "--keep-going")
    assert code == 1, output[-3000:]
    (failed,) = project.glob("papermill_runs/*/02_pretraining-prd-seed0.ipynb")
    assert "AssertionError" in failed.read_text()
    assert statuses(project) == ["succeeded", "succeeded", "failed", "queued", "queued", "queued"]
    (project / "notebooks" / "02_pretraining.ipynb").write_text(mended)
    code, output = snakemake(project)
    assert code == 0, output[-3000:]
    assert set(statuses(project)) == {"succeeded"}


@needs_snakemake
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_grid_goes_on(project, end):
    """SIGINT: Ctrl-C, which every process of the terminal gets. SIGKILL: of Snakemake and its jobs, as when a node is lost."""
    other = toy(project / "other", n02="import pathlib, time\npathlib.Path(run_dir, method).touch()\ntime.sleep(600)")
    mended = (project / "notebooks" / "02_pretraining.ipynb").read_text()
    shutil.copy(other / "02_pretraining.ipynb", project / "notebooks")
    process = start(project, "--until", "pretraining", start_new_session=True)
    wait_for(lambda: all(list(project.glob(f"papermill_runs/*/{method}")) for method in ("clip", "prd")), 120)
    assert statuses(project)[:3] == ["succeeded", "running", "running"]
    notebooks = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, end)
    process.communicate(timeout=60)
    psutil.wait_procs(notebooks, timeout=60)
    assert not [one for one in notebooks if one.is_running()]
    assert statuses(project)[:3] == ["succeeded", "interrupted", "interrupted"]
    (project / "notebooks" / "02_pretraining.ipynb").write_text(mended)
    if end == signal.SIGKILL:
        assert snakemake(project, "--unlock")[0] == 0
    code, output = snakemake(project, "--until", "pretraining", "--rerun-incomplete")
    assert code == 0, output[-3000:]
    assert statuses(project)[:3] == ["succeeded"] * 3
    assert not re.search(r"^data ", output, re.MULTILINE)  # was done already


@needs_snakemake
def test_a_wrong_name_is_told_before_anything_runs(project):
    code, output = snakemake(project, "--config", "methods=[clip,prdd]")
    assert code == 1
    assert "prdlib: Unknown method 'prdd' (did you mean 'prd'?)" in output
    assert "Traceback" not in output
    assert not (project / "papermill_runs").exists()


@pytest.fixture
def ablation(project: Path) -> Path:
    """The project with an ablation of its own, mine.yaml, of which one cell fails until there is notebooks/mended."""
    last = "(folder / '03_differences.csv').touch()\n(folder / 'summary.csv').write_text('method')"
    fail = KEEP + "assert method == 'clip' or Path('mended').exists()"
    other = with_grid(toy(project / "other", n02=fail, n03=WRITE + last))
    for name in ("02_pretraining", "03_ablations"):
        shutil.copy(other / f"{name}.ipynb", project / "notebooks")
    (project / "mine.yaml").write_text(yaml.safe_dump({"seeds": [1], "rows": ROWS}, sort_keys=False))
    (project / "grid.yaml").write_text("ablation: mine.yaml")
    return project


def run_grid(project: Path, *options: str) -> str:
    command = [sys.executable, "-m", "prdlib", "run", "--grid", "mine.yaml", *options]
    done = subprocess.run(command, cwd=project, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def left(project: Path) -> set[str]:
    """Files of the run and its cells, but locks and the marks of Snakemake."""
    files = (path for path in (project / "papermill_runs").rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(project)) for path in files if path.suffix not in (".lock", ".done")}


@needs_snakemake
def test_an_ablation_is_a_job_a_cell_and_the_run_of_run_grid(ablation):
    other = Path(shutil.copytree(ablation, ablation.parent / f"{ablation.name}-other"))
    code, output = snakemake(ablation, "--dry-run", "--printshellcmds")
    assert code == 0, output[-3000:]
    assert set(re.findall(r"--only (\S+)", output)) == {*CELLS, "03_ablations"}
    code, output = snakemake(ablation, "--keep-going")
    assert code == 1, output[-3000:]
    assert statuses(ablation) == ["succeeded", "failed", "queued"]
    (command,) = re.findall(r"python -m prdlib run --grid mine.yaml (--only 03_ablations)$", output, re.MULTILINE)
    run_grid(ablation, *command.split())
    assert statuses(ablation) == ["succeeded", "failed", "succeeded"]
    (ablation / "notebooks" / "mended").touch()
    code, output = snakemake(ablation)
    assert code == 0, output[-3000:]
    assert "3 of 3 steps (100%) done" in output  # the failed cell, 03 and all
    assert "Nothing to be done" in snakemake(ablation)[1]
    (other / "notebooks" / "mended").touch()
    run_grid(other)
    assert statuses(ablation) == statuses(other) == ["succeeded"] * 3
    assert left(ablation) == left(other)
    assert run_grid(ablation).count("unchanged") == 3
    code, output = snakemake(other)
    assert code == 0, output[-3000:]
    assert output.count("unchanged") == len(CELLS)
    assert statuses(other) == ["succeeded"] * 3
