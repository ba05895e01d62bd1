"""The steps of a run: which notebook with which parameters, what it needs, what it leaves, and when it must run again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prdlib import repro
from prdlib.config import RunConfig
from prdlib.manifest import RunError
from prdlib.settings import nearest


@dataclass(frozen=True)
class Step:
    """One notebook with its parameters; ``needs`` are the keys of the steps before it."""

    key: str
    notebook: Path
    parameters: Mapping[str, Any]
    needs: tuple[str, ...]

    @property
    def title(self) -> str:
        """What the progress line shows."""
        return " ".join(self.key.replace("-seed", " ").split("-", 1))

    @property
    def folder(self) -> Path:
        """The run directory that its notebook writes into."""
        return Path(self.parameters["run_dir"])


def plan(config: RunConfig, notebooks: Path, run_dir: Path, call: Mapping[str, Any]) -> list[Step]:
    """The steps of a run in order. call: profile, settings and data as every notebook is given them."""
    common = {**call, "run_dir": str(run_dir)}
    steps = [Step("01_data", notebooks / "01_data.ipynb", common, ())]
    # Seeds outside, methods inside: an interrupted run has whole comparisons of the first seeds.
    for seed in config.seeds:
        for method in config.methods:
            parameters = {**common, "method": method, "seed": seed}
            steps.append(
                Step(
                    f"02_pretraining-{method}-seed{seed}", notebooks / "02_pretraining.ipynb", parameters, ("01_data",)
                )
            )
    trained = tuple(step.key for step in steps[1:])
    first = trained[: len(config.methods)]  # 04 and 05 look at the first seed: they do not wait for the others
    method = "prd" if "prd" in config.methods else config.methods[-1]
    seed = config.seeds[0]
    for name, extra, needs in (
        ("03_ablations", {}, trained),
        ("04_attention", {"method": method, "seed": seed}, first),
        ("05_downstream", {"seed": seed}, first),
    ):
        steps.append(Step(name, notebooks / f"{name}.ipynb", {**common, **extra}, needs))
    return steps


def check_parameters(steps: list[Step]) -> None:
    """RunError when a notebook is missing or does not know a parameter it is given (papermill would only warn)."""
    from papermill import inspect_notebook

    notebooks = {step.notebook for step in steps}
    for path in sorted(notebooks):
        if not path.is_file():
            raise RunError(f"Notebook {path.name} is missing in {path.parent.name}/.")
    known = {path: set(inspect_notebook(str(path))) for path in notebooks}
    for step in steps:
        unknown = sorted(set(step.parameters) - known[step.notebook])
        if unknown:
            raise RunError(
                f"Notebook {step.notebook.name} has no parameter {unknown[0]!r}: it knows {sorted(known[step.notebook])}."
            )


def input_hash(step: Step, config: RunConfig, sources: str, before: Mapping[str, Any]) -> str:
    """Hash of what decides a step's outputs: code cells, parameters, settings, data, the library, the steps it needs."""
    cells = json.loads(step.notebook.read_text())["cells"]
    code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    inputs = {key: before[key].get("outputs") for key in step.needs}
    return repro.hash_json([code, dict(step.parameters), asdict(config), config.content, sources, inputs], 16)


def library_files() -> list[Path]:
    """prdlib's sources: code and YAML."""
    folder = Path(__file__).parent
    return sorted(p for s in ("*.py", "*.yaml") for p in folder.rglob(s))


def library_hash() -> str:
    """Hash of prdlib's sources."""
    return repro.hash_files(library_files(), 16)


def tables_of(step: Step) -> list[Path]:
    """The files that a step left in metrics/: 01_*, 02_<method>-seed<k>_*, 03_* and summary, 04_*, 05_*."""
    name = step.key[:2]
    if "method" in step.parameters and name == "02":
        name += f"_{step.parameters['method']}-seed{step.parameters['seed']}"
    patterns = [f"{name}_*", *(["summary.*"] if step.key == "03_ablations" else [])]
    return sorted(path for pattern in patterns for path in (step.folder / "metrics").glob(pattern))


def outputs_of(step: Step) -> dict[str, str]:
    """Hashes of a step's tables but those that carry times (figures and notebooks do, and are listed elsewhere)."""
    files = [f for f in tables_of(step) if f.suffix == ".csv" and "history" not in f.name]
    return {f.name: repro.hash_files([f]) for f in files}


def forget_tables(step: Step) -> None:
    """Remove the tables of a step that starts, or cannot: they come from other inputs, and nobody shall read them."""
    for path in tables_of(step):
        path.unlink()


def find_step(steps: list[Step], key: str) -> Step:
    """The step with this key; RunError names the nearest, or all where none is near."""
    found = {step.key: step for step in steps}
    if key not in found:
        raise RunError(f"Unknown step {key!r}{nearest(key, found) or ': choose one of ' + ', '.join(found)}.")
    return found[key]


def steps_again(steps: list[Step], start_from: str | None) -> set[str]:
    """Keys of the steps that must run again: those named, and all that need them. RunError for an unknown name."""
    if start_from is None:
        return set()
    chosen = {s.key for s in steps if s.key == start_from or s.notebook.stem == start_from}
    if not chosen:
        raise RunError(f"Unknown step {start_from!r}: choose one of {', '.join(dict.fromkeys(s.key for s in steps))}.")
    for step in steps:
        if chosen & set(step.needs):
            chosen.add(step.key)
    return chosen
