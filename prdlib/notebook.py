"""What every notebook starts with: a run directory, its settings, its data, and one way to keep tables and figures."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from datasets import DatasetDict
from filelock import FileLock
from IPython.display import Image
from matplotlib.figure import Figure

from prdlib import repro
from prdlib.ablation import Ablation, load_ablation
from prdlib.attribution import phrase_grad_cam
from prdlib.config import ObjectiveConfig, RunConfig, load_profile
from prdlib.data import DataError, Studies, load_studies, prepare, prepared_info
from prdlib.data.batches import EvaluationData
from prdlib.data.image_split import split_by_image
from prdlib.data.studies import reader_options
from prdlib.distributed import is_first, launched
from prdlib.evaluation import grounding, localisation
from prdlib.evaluation.adapters import DualEncoder, PRDAdapter
from prdlib.evaluation.benchmark_set import BenchmarkSet
from prdlib.evaluation.embeddings import mean_image
from prdlib.evaluation.image_gain import other_rows
from prdlib.evaluation.structure_report import StructureReport, structure_report
from prdlib.evaluation.twins import make_twins, twin_outcomes
from prdlib.models import PRDModel, random_twin
from prdlib.plots import save_figure, small_png
from prdlib.runs import default_run_dir
from prdlib.text import segment
from prdlib.training import FitResult, checkpoint_folder, fit, load_fit, quiet

BANNER = (
    "NOTE: profile quick is for reading and for tests: seconds of training on a few hundred phantoms. "
    "Its numbers mean little; see 'Results' in README.md for numbers that do."
)


@dataclass(frozen=True)
class Run:
    """One run directory with its settings. ``folder`` holds checkpoints/, metrics/, figures/."""

    config: RunConfig
    folder: Path
    grid: Ablation | None = None

    @property
    def rows(self) -> tuple[str, ...]:
        """What is compared: the methods of the run, or the rows of its grid."""
        return tuple(row.name for row in self.grid.rows) if self.grid else self.config.methods

    @property
    def seeds(self) -> tuple[int, ...]:
        """Training seeds of each of them."""
        return self.grid.seeds if self.grid else self.config.seeds

    @property
    def baseline(self) -> str:
        """What they are compared to: clip, or else the first; of a grid its own."""
        return self.grid.baseline if self.grid else "clip" if "clip" in self.rows else self.rows[0]

    def twins(self, model: PRDModel) -> pd.DataFrame:
        """Outcomes of the counterfactual twins of the test studies, with the mean image as blind control (a phantom's alone)."""
        data, test = self.config.data, self.split("test")
        ids = test.study_ids if data.name == "phantom" else ()
        twins = make_twins(ids, test.images.shape[-1], data.word_limit)
        return twin_outcomes(PRDAdapter(model), twins, self.blind_image)

    @cached_property
    def studies(self) -> Studies:
        """The collection as its reader gives it."""
        data = self.config.data
        if data.name == "phantom":
            return load_studies("phantom", n=data.n_studies, size=data.image_size, seed=data.seed)
        known = reader_options(data.name)
        own = {
            "directory": data.directory,
            "file": data.directory,
            "views": data.views,
            "deidentified": data.deidentified,
        }
        return load_studies(data.name, **{name: own[name] for name in own if name in known}, **data.options)

    @property
    def prepared_folder(self) -> Path:
        """Where the prepared data of these settings lie, shared by all runs beside this one."""
        return self.folder.parent / "prepared" / self.config.data_id()

    @cached_property
    def data(self) -> DatasetDict:
        """The prepared data; made on the first call, checked and loaded on the next."""
        data = self.config.data
        prepared = prepare(self.studies, self.prepared_folder, data.image_size, word_limit=data.word_limit)
        return split_by_image(prepared) if data.split_by == "image" else prepared

    @property
    def info(self) -> dict[str, Any]:
        """Hash, labels and counts of the prepared data."""
        _ = self.data
        return prepared_info(self.prepared_folder)

    def fit(self, method: str, seed: int) -> FitResult:
        """Train, continue or load ``method`` with ``seed`` (see :func:`prdlib.training.fit`)."""
        self.config.check_logger()
        folder = checkpoint_folder(self.folder, method, seed)
        lock = self.folder / "log" / f"{folder.name}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        # Rows of several grids may be one training: who comes second finds it made. Processes of a launcher come together.
        with nullcontext() if launched() else FileLock(lock):
            return fit(self.config, method, seed, self.data, folder, data_hash=self.info["hash"])

    def trained(self, method: str, seed: int) -> FitResult:
        """The finished training of ``method`` and ``seed``, or an error that names the command that makes it."""
        return load_fit(self.folder, method, seed)

    def trainings(self) -> dict[tuple[str, int], PRDModel]:
        """(method, seed) -> model of every training of the run, or an error that names the command that makes it.

        Of a grid (row, seed) -> model of the cells that are finished, those of the others left out. DataError when none is, and
        for a row that reads other data than the grid does.
        """
        if not self.grid:
            return {(m, s): self.trained(m, s).model for s in self.config.seeds for m in self.config.methods}
        models = {}
        for row, seed in self.grid.cells():
            config = self.grid.config(row)
            if config.data_id() != self.config.data_id():
                raise DataError(
                    f"Row {row.name!r} of grid {self.grid.name} reads other data than the rest: evaluate it alone."
                )
            folder = self.folder.parent / config.run_id
            if (checkpoint_folder(folder, row.method, seed) / "fit.json").is_file():
                models[row.name, seed] = load_fit(folder, row.method, seed).model
        if not models:
            raise DataError(
                f"No cell of grid {self.grid.name} is finished: python -m prdlib run --grid {self.grid.name}"
            )
        return models

    @cached_property
    def objectives(self) -> dict[str, ObjectiveConfig]:
        """Method, or row of a grid -> the settings of its objective."""
        if self.grid:
            return {row.name: self.grid.config(row).for_method(row.method).objective for row in self.grid.rows}
        return {method: self.config.for_method(method).objective for method in self.config.methods}

    def trained_on(self) -> dict[str, tuple[str, ...]]:
        """Method, or row of a grid -> the perturbations that its training draws from (none without discrimination)."""
        return {name: o.kinds if o.discrimination_weight > 0 else () for name, o in self.objectives.items()}

    @cached_property
    def blind_image(self) -> np.ndarray:
        """The mean image, uint8 [S, S]: of the training split, or of the test split where a collection has no other."""
        return mean_image(self.split("train" if "train" in self.data else "test").images)

    def structure(
        self,
        models: Mapping[tuple[str, int], DualEncoder],
        trained_on: Mapping[str, Sequence[str]] | None = None,
        benchmark: BenchmarkSet | None = None,
        split: str = "test",
    ) -> StructureReport:
        """The structure benchmark of ``models``, (name, seed) -> model, on a split (not the training's).

        trained_on: name -> edits of its training (None: those of the methods of the run); benchmark: a frozen set.
        """
        train, data = self.split("train"), self.config.data
        return structure_report(
            models, self.split(split), train, self.blind_image, data.name, data.word_limit,
            self.trained_on() if trained_on is None else trained_on, self.config.evaluation.bootstrap, benchmark,
            learn=self.config.evaluation.control_reports,
        )  # fmt: skip

    def split(self, name: str) -> EvaluationData:
        """One image (frontal if there is one) and the report of every study of a split."""
        if name not in self.data:
            raise DataError(f"The data have no study in the split {name!r}: load more studies.")
        return EvaluationData.first_views(self.data[name], self.info["labels"])

    def blind_levels(self) -> dict[str, float | dict[str, float]]:
        """Column of a training's history -> what a blind guess reaches: 1 / reports of validation, 1 / 5, and for each method, or
        row of a grid, that discriminates log(1 + K) of its own K, twice that with a text-only expert, which adds its own loss."""
        guesses = {
            name: math.log(1 + o.copies) * (2 if o.discrimination == "debiased" else 1)
            for name, o in self.objectives.items()
            if o.discrimination_weight > 0
        }
        levels = {"discrimination": guesses, "validation_structure": 0.2}
        if "validation" in self.data:
            levels["validation_R@1"] = 1 / len(set(self.data["validation"]["report_group"]))
        return levels

    def dropped(self) -> pd.DataFrame:
        """Every file, row or report that was left out, by the reader or while images were read, with its reason."""
        _ = self.data
        return pd.read_csv(self.prepared_folder / "dropped.csv")

    def shared_reports(self, test: EvaluationData) -> np.ndarray | None:
        """[N] True for studies whose report also stands in training, when the settings exclude those from retrieval."""
        if not self.config.evaluation.exclude_shared_reports:
            return None
        return np.isin(test.groups, np.asarray(self.data["train"]["report_group"]))

    def boxes(self, data: EvaluationData, row: int) -> list[list[float]]:
        """True boxes of a study, in fractions of the image."""
        return [f["box"] for f in data.findings[row] if f.get("box") is not None]

    def scales(
        self, data: EvaluationData, phrases: Sequence[grounding.Phrase], row: int, kind: str = "clause"
    ) -> tuple[np.ndarray, list[tuple[str, ...]], list[tuple[float, ...] | None]]:
        """What :func:`prdlib.scales_plot.three_scales` draws of a study: image, segments, the true box that each names."""
        segments = segment(data.marked[row], kind)
        ends = np.cumsum([len(part) for part in segments])
        found = {int(np.searchsorted(ends, p.words[0], side="right")): p.box for p in phrases if p.row == row}
        return data.images[row], segments, [found.get(i) for i in range(len(segments))]

    def phrase_maps(
        self, model: PRDModel, data: EvaluationData, phrases: Sequence[grounding.Phrase], row: int
    ) -> tuple[np.ndarray, np.ndarray, list[str], list[list[float]], str]:
        """What :func:`prdlib.plots.word_maps` draws of a study: image, one map per phrase, the phrases, their true boxes, and the
        maps' unit."""
        shown = grounding.shown_phrases(row, phrases, data.tagged[row].tags)
        image, words = data.images[row : row + 1], data.words[row]
        items = [p._replace(row=0) for p in shown]
        maps = localisation.phrase_maps(model, image, [data.marked[row]], items, image.shape[-1])
        boxes = [list(box) for p in shown for box in p.boxes if any(box)]
        unit = "cosine of segment and region" if model.config.segment_regions else "inner product of word and region"
        return image[0], maps, [" ".join(words[i] for i in p.first_mention) for p in shown], boxes, unit

    def controlled_maps(
        self, model: PRDModel, data: EvaluationData, phrases: Sequence[grounding.Phrase], row: int
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], list[str], list[list[float]]]:
        """What :func:`prdlib.attention_plots.maps_with_controls` draws of a study: the images that were shown and the maps, by
        input (see prdlib.evaluation.localisation), the phrases, their true boxes."""
        other = int(other_rows(data.groups)[row])
        words = data.words[row]
        shown = [p._replace(row=0) for p in grounding.shown_phrases(row, phrases, data.tagged[row].tags)]
        titles = [" ".join(words[i] for i in p.first_mention) for p in shown]
        items = [p._replace(name=p.name or title) for p, title in zip(shown, titles, strict=True)]
        blind = self.blind_image
        maps = localisation.localisation_maps(
            model,
            random_twin(model),
            data.images[[row, other]],
            [data.marked[row], data.marked[other]],
            np.arange(2),
            blind,
            items,
            maps_of=self.map_methods()["similarity"],
        )
        seen = {"mean image": blind, "other image": data.images[other]}
        boxes = [list(box) for p in shown for box in p.boxes if any(box)]
        return {name: seen.get(name, data.images[row]) for name in maps}, maps, titles, boxes

    def map_methods(self) -> dict[str, Callable[..., np.ndarray]]:
        """What makes a phrase's map: the local similarity, or Grad-CAM of the global one."""
        return {"similarity": localisation.phrase_maps, "Grad-CAM": phrase_grad_cam}

    def localisation(
        self,
        models: Sequence[PRDModel],
        data: EvaluationData,
        phrases: Sequence[grounding.Phrase],
        most: int = 0,
        maps: str = "similarity",
    ) -> pd.DataFrame:
        """Pointing, CNR and mean IoU of a model's maps beside every control, see prdlib.evaluation.localisation.

        models: the training seeds of one method; most: only phrases of the first so many studies that have one (0:
        evaluation.grounding_studies); maps: of :meth:`map_methods`. Empty in a collection without boxes.
        """
        most = most or self.config.evaluation.grounding_studies
        rows = sorted({phrase.row for phrase in phrases})[:most]
        items = [phrase for phrase in phrases if phrase.row in rows]
        patients = [data.patient_ids[item.row] for item in items]
        last = max(rows, default=-1) + 1
        asked = grounding.Asked(items, data.images[:last], data.marked[:last], data.groups[:last], patients)
        return self.localised(models, asked, maps)

    def localised(self, models: Sequence[PRDModel], asked: grounding.Asked, maps: str = "similarity") -> pd.DataFrame:
        """The same of phrases of any texts."""
        values, resamples = [], self.config.evaluation.bootstrap
        for model in models:
            seen = (model, random_twin(model), asked.images, asked.texts, asked.groups, self.blind_image, asked.items)
            found = localisation.localisation_maps(*seen, maps_of=self.map_methods()[maps])
            values.append(localisation.localisation_values(found, asked.items))
        return localisation.localisation_table(values, asked.items, resamples, patients=asked.patients)

    def keep(self, table: pd.DataFrame, name: str, decimals: int = 3) -> pd.DataFrame:
        """Write ``table`` to metrics/<name>.csv and .json, in full; return it rounded, to be shown."""
        folder = self.folder / "metrics"
        repro.write_atomic(folder / f"{name}.csv", table.to_csv(index=False))
        repro.write_json(folder / f"{name}.json", json.loads(table.to_json(orient="records", double_precision=6)))
        return table.round(decimals)

    def read_if_any(self, pattern: str) -> pd.DataFrame:
        """:meth:`read`, and a table without rows where no training is finished (those of another machine are kept elsewhere)."""
        try:
            return self.read(pattern)
        except FileNotFoundError:
            return pd.DataFrame(columns=["method", "seed", "metric", "input", "query", "outcome", "chance", "seconds"])

    def read(self, pattern: str) -> pd.DataFrame:
        """The tables metrics/<pattern>.csv below each other; ``*`` stands for <method>-seed<k>, for the methods and seeds of
        these settings alone: what other settings left in the folder is not read.
        FileNotFoundError says which notebook writes them."""
        if self.grid:
            return self._read_grid(pattern)
        trainings = (f"{method}-seed{seed}" for method in self.config.methods for seed in self.config.seeds)
        paths = sorted({self.folder / "metrics" / f"{pattern.replace('*', name)}.csv" for name in trainings})
        files = [path for path in paths if path.is_file()]
        if not files:
            raise FileNotFoundError(
                f"No metrics/{pattern}.csv in {self.folder.name}: run notebook {pattern[:2]} first, or 'make run'."
            )
        return pd.concat([pd.read_csv(f, keep_default_na=True) for f in files], ignore_index=True)

    def _read_grid(self, pattern: str) -> pd.DataFrame:
        """The tables of all finished cells, ``method`` being the row's name."""
        tables = []
        for row, seed in self.grid.cells():
            folder = self.folder.parent / self.grid.config(row).run_id / "metrics"
            path = folder / f"{pattern.replace('*', f'{row.method}-seed{seed}')}.csv"
            if path.is_file():
                tables.append(pd.read_csv(path).assign(method=row.name, seed=seed))
        if not tables:
            command = f"python -m prdlib run --grid {self.grid.name}"
            raise FileNotFoundError(f"No cell of grid {self.grid.name} is finished: {command}")
        return pd.concat(tables, ignore_index=True)

    def show(self, figure: Figure, name: str, **facts: Any) -> Image:
        """Keep ``figure`` as figures/<name>.png, .pdf and .json (what it shows); return it with fewer colours."""
        facts = {"run": self.folder.name, "data": self.info["hash"], "profile": self.config.profile, **facts}
        path = save_figure(figure, self.folder / "figures" / name, **facts)
        return Image(data=small_png(path.read_bytes()))


def open_run(
    profile: str = "quick",
    settings: Mapping[str, Any] | None = None,
    run_dir: str = "",
    data: str = "",
    grid: str = "",
    **facts: Any,
) -> Run:
    """The run of these settings; prints where it is and what made it (versions, device, data, git state).

    profile, settings: see :func:`prdlib.config.load_profile`. run_dir: its folder; empty: papermill_runs/<run_id> of the
    project. data: folder of the collection, see :meth:`prdlib.config.RunConfig.with_data`. grid: name or file of an ablation (see
    prdlib.ablation), which has a profile of its own and stands in for the methods. facts: printed beside the rest
    (method, seed).
    """
    quiet()
    ablation = load_ablation(grid, settings, data) if grid else None
    config = ablation.base() if ablation else load_profile(profile, settings).with_data(data)
    folder = repro.project_root() / "papermill_runs" / ablation.run_id if ablation else default_run_dir(config)
    run = Run(config, Path(run_dir) if run_dir else folder, ablation)
    if is_first():
        _print_provenance(run, facts)
    return run


def _print_provenance(run: Run, facts: Mapping[str, Any]) -> None:
    config, state = run.config, repro.provenance()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(f"run      {run.folder.name} ({config.profile}), data {config.data.name} {config.data.image_size} px")
    if facts:
        print("         " + ", ".join(f"{name} {value}" for name, value in facts.items()))
    print(f"device   {device}, {config.training.autocast}")
    print("versions " + ", ".join(f"{name} {version}" for name, version in state["versions"].items()))
    print(f"git      {(state['commit'] or 'no checkout')[:12]}{' with changes' if state['dirty'] else ''}")
    if config.profile == "quick":
        print(BANNER)
