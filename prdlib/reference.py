"""Reference results: what of a finished run is kept in git. Numbers and plots of scores, never an image or a report.

``python -m prdlib.reference PROFILE_OR_GRID [FOLDER]`` keeps papermill_runs/latest (make reference): tables, plots with what they
show, tables of ``evaluate --output papermill_runs/latest/<task>``, the outcome of every study, the manifest, and notebook 03 as
it was executed, with paths below the project's root. With the folder of a training of the phantom in place of a name it keeps
this checkpoint.
"""

from __future__ import annotations

import json
import lzma
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from prdlib.data import DataError
from prdlib.manifest import read_manifest
from prdlib.repro import project_root, write_atomic

TABLES = (
    *(
        "summary",
        "03_runs",
        "03_cells",
        "03_rows",
        "03_scores",
        "03_twins",
        "03_histories",
        "03_outcomes",
        "04_pointing",
        "04_localisation",
        "05_overview",
    ),
    *("04_maps", "04_gains", "04_curves", "04_correlations", "04_completeness", "04_cost"),
    *("04_word_scores", "04_word_curves", "04_word_correlations"),
    *(
        "05_prevalence",
        "05_zero_shot",
        "05_zero_shot_classes",
        "05_classification",
        "05_fine_tuning",
        "05_paper",
        "05_subsets",
    ),
    *("05_sides", "05_retrieval", "05_generation", "05_nli", "05_localisation", "05_lost", "05_image_gain"),
    *("05_gain_families", "05_gain_differences", "05_paraphrases", "05_twins", "05_binding"),
)
FIGURES = (
    *(
        "03_curves",
        "03_forest",
        "03_differences",
        "03_cost",
        "04_pointing",
        "04_localisation",
        "04_gains",
        "04_curves",
        "04_correlations",
        "04_word_curves",
        "04_word_correlations",
        "05_zero_shot",
        "05_label_efficiency",
        "05_fine_tuning",
    ),
    *("05_curves", "05_generation", "05_nli", "05_localisation", "05_image_gain", "05_dumbbells"),
)
GRID_TABLES = ("03_runs", "03_cells", "03_rows", "03_twins", "03_histories", "03_outcomes")
GRID_FIGURES = ("03_forest", "03_differences", "03_cost", "03_curves")
OPTIONAL = ("05_fine_tuning", "05_zero_shot_classes", "05_localisation", "05_lost", "05_binding", "05_twins", "03_twins",
            "03_histories",
            "04_pointing", "04_localisation", "04_maps", "04_gains", "04_curves", "04_correlations")  # fmt: skip
TASKS = ("structure", "auroc", "localisation", "matching")
CHECKPOINT = (
    *("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"),
    *("fit.json", "history.csv", "README.md"),
)
NOTEBOOK, MANIFEST = "03_ablations.ipynb", "run.json"


def keep_reference(run_dir: str | Path, folder: str | Path, grid: bool = False) -> list[str]:
    """Write ``folder`` anew from a finished run; returns the names of its files.

    grid: the run is of an ablation. Raises FileNotFoundError for a table or plot that every such run has and this one has not;
    ``folder`` is then as it was.
    """
    run_dir, folder = Path(run_dir).resolve(), Path(folder)
    made = folder.with_name(folder.name + ".new")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    empty = {name for name in OPTIONAL if not _has_rows(run_dir / "metrics" / f"{name}.csv")}
    for name in GRID_TABLES if grid else TABLES:
        if name not in empty:
            _copy(run_dir / "metrics" / f"{name}.csv", made)
    empty |= {"03_curves"} if "03_histories" in empty else set()
    for name in GRID_FIGURES if grid else FIGURES:
        for suffix in (".png", ".json") if name not in empty else ():
            _copy(run_dir / "figures" / f"{name}{suffix}", made)
    for task in TASKS:
        for path in sorted((run_dir / task).glob("*")):
            if path.suffix in (".csv", ".xz", ".json", ".png"):
                (made / task).mkdir(exist_ok=True)
                shutil.copy(path, made / task)
    outcomes = made / "03_outcomes.csv"
    (made / "03_outcomes.csv.xz").write_bytes(
        lzma.compress(outcomes.read_bytes(), preset=9 | lzma.PRESET_EXTREME)
    )  # gzip: twice as large
    outcomes.unlink()
    for name in (NOTEBOOK, MANIFEST):
        write_atomic(made / name, portable((run_dir / name).read_text(), run_dir.parents[1]))
    _carry_on(folder / MANIFEST, made / MANIFEST)
    shutil.rmtree(folder, ignore_errors=True)
    made.rename(folder)
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _carry_on(before: Path, now: Path) -> None:
    """Steps of trainings in the manifest that was kept ``before``, which this run did not make again, in that of ``now``; steps
    that wait are left out of it: nobody will run them there."""
    manifest = json.loads(now.read_text())
    earlier = json.loads(before.read_text())["steps"] if before.is_file() else {}
    steps = {key: step for key, step in earlier.items() if key.startswith("02_")}
    steps |= {key: step for key, step in manifest["steps"].items() if step["status"] != "queued"}
    steps = {key: step for key, step in steps.items() if step["status"] != "queued"}
    write_atomic(now, json.dumps(manifest | {"steps": steps}, indent=1, ensure_ascii=False) + "\n")


def keep_checkpoint(source: str | Path, checkpoints: str | Path) -> list[str]:
    """Copy a finished training of the phantom to <checkpoints>/<profile>-<its folder's name>; returns the names of its files.

    Raises FileNotFoundError for a folder without a finished training, and DataError for one of other data: weights learnt from
    films of patients stay where they are.
    """
    source = Path(source).resolve()
    if not (source / "fit.json").is_file():
        raise FileNotFoundError(f"{source} has no fit.json: give the folder of a finished training.")
    settings = json.loads((source / "fit.json").read_text())["settings"]
    if settings["data"]["name"] != "phantom":
        raise DataError(f"{source} was trained on {settings['data']['name']}: only weights of the phantom are kept.")
    folder = Path(checkpoints) / f"{settings['profile']}-{source.name}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in CHECKPOINT:
        shutil.copyfile(source / name, folder / name)
    return sorted(CHECKPOINT)


ELSEWHERE = re.compile(
    r'(\\?")/(?!path/to/)(?:[^"/\\\s]+/)+([^"/\\\s]+)(?=\\?")'
)  # a string that is an absolute path, whole


def portable(text: str, root: Path) -> str:
    """JSON text with paths below ``root`` as paths from it, others as /path/to/<name>, and without the name of the machine."""
    text = ELSEWHERE.sub(r"\1/path/to/\2", text.replace(f"{root}/", ""))
    found = json.loads(text)
    for step in found.get("steps", {}).values():
        step.pop("host", None)
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _has_rows(path: Path) -> bool:
    return path.is_file() and len(path.read_text().strip().splitlines()) > 1


def _copy(path: Path, folder: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path.parent.parent.name} has no {path.parent.name}/{path.name}: finish the run first."
        )
    shutil.copy(path, folder)


def main(arguments: Sequence[str]) -> int:
    """Keep papermill_runs/latest as papermill_runs/reference/<folder>, of a grid as .../grids/<folder>, and a checkpoint as
    .../checkpoints/<profile>-<its folder's name>."""
    name, *rest = arguments
    reference = project_root() / "papermill_runs" / "reference"
    if Path(name).is_dir():
        print("\n".join(keep_checkpoint(name, reference / "checkpoints")))
        return 0
    stem = Path(name).stem
    latest = project_root() / "papermill_runs" / "latest"
    if not latest.resolve().name.startswith(f"{stem}-"):
        print(f"papermill_runs/latest is no run of {stem}: run it first", file=sys.stderr)
        return 2
    grid = bool(
        read_manifest(latest).get("call", {}).get("grid")
    )  # paper and openi are names of a profile and of a grid
    folder = reference / ("grids" if grid else "") / (rest[0] if rest else stem)
    print("\n".join(keep_reference(latest, folder, grid)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
