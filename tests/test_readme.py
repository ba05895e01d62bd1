"""README: the settings table is the dataclasses', the results are the reference runs', links and commands exist.

``python tests/test_readme.py`` rewrites all of them.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from prdlib.ablation import load_ablation
from prdlib.benchmark.cost import describe, gpu_hours
from prdlib.benchmark.report import load_report
from prdlib.config import RunConfig, load_profile
from prdlib.names import PAPER_METHODS, WORD_ORDER
from prdlib.settings import reference

ROOT = Path(__file__).parents[1]
MARKS = "<!-- settings: generated from the dataclasses by tests/test_readme.py -->", "<!-- end of settings -->"

RESULTS = "<!-- results: generated from papermill_runs/reference by tests/test_readme.py -->", "<!-- end of results -->"
SPEED = (
    "<!-- speed: generated from papermill_runs/reference/benchmark by tests/test_readme.py -->",
    "<!-- end of speed -->",
)
ABLATION = (
    "<!-- ablation: generated from papermill_runs/reference/grids/grounded by tests/test_readme.py -->",
    "<!-- end of ablation -->",
)
PAPER = (
    "<!-- paper: generated from papermill_runs/reference/grids/paper by tests/test_readme.py -->",
    "<!-- end of paper -->",
)
LEFT_OUT = (
    "<!-- left_out: generated from papermill_runs/reference/grids/leave_one_out by tests/test_readme.py -->",
    "<!-- end of left_out -->",
)
OPENI = (
    "<!-- openi: generated from papermill_runs/reference/grids/openi by tests/test_readme.py -->",
    "<!-- end of openi -->",
)
DOWNSTREAM = (
    "<!-- downstream: generated from papermill_runs/reference/downstream by tests/test_readme.py -->",
    "<!-- end of downstream -->",
)
MAPS = (
    "<!-- maps: generated from papermill_runs/reference/cpu by tests/test_readme.py -->",
    "<!-- end of maps -->",
)
REFERENCE = ROOT / "papermill_runs" / "reference"
SHOWN = (  # of the overviews of evaluate, in the README
    ("zero_shot", ("mean AUROC, global", "mean AUROC, local", "mean AUPRC, local", "balanced accuracy of")),
    ("classification", ("mean AUROC, linear probe", "mean AUPRC, linear probe, 100 %")),
    ("fine_tuning", ("mean AUROC", "mean balanced accuracy")),
    ("retrieval", ("R@1, image", "R@10, image", "median rank, image", "P@10 of labels, image")),
    ("generation", ("BLEU-4", "ROUGE-L", "label F1, macro")),
    ("nli", ("phantom, zero-shot, AUROC", "phantom, fine-tuned, accuracy")),
    ("localisation", ("pointing", "CNR, similarity")),
)
GROUNDED = ("clip", "structured", "grounded", "grounded_prd", "regions at stride 8")
RESULTS_SHOWN = (  # folder, title, methods
    ("cpu", "Profile cpu", tuple(PAPER_METHODS)),
    ("grids/grounded", "Grounded PRD and its ingredients, profile cpu", GROUNDED),
    ("openi", "Profile openi", tuple(PAPER_METHODS)),
)
GAINS = (
    "5 options",
    "10 options",
    "swap_laterality",
    "swap_zone",
    "change_severity",
    "exchange_attributes",
    "affirm_finding",
)


def results_tables() -> str:
    return "\n\n".join(results_table(*shown) for shown in RESULTS_SHOWN)


def results_table(name: str, title: str, methods: tuple[str, ...]) -> str:
    """A line for each test of a folder of papermill_runs/reference, all from its tables over studies and seeds."""
    folder = REFERENCE / name
    rows = [f"**{title}** ([all tables and plots](papermill_runs/reference/{name}))", ""]
    rows += ["| test | chance | n | seeds | " + " | ".join(methods) + " |", "|---" * (4 + len(methods)) + "|"]
    lines = [*scores(folder), *aurocs(folder), *gains(folder), *located(folder)]
    return "\n".join(rows + [result_line(*line, methods) for line in lines])


Line = tuple[str, float, pd.DataFrame, Callable[[pd.Series], str]]  # title, chance, rows by method, a row's cell


def result_line(
    title: str, chance: float, table: pd.DataFrame, cell: Callable[[pd.Series], str], methods: tuple[str, ...]
) -> str:
    """A method that was not scored stays empty."""
    table = table.loc[[m for m in methods if m in table.index]]
    cells = [cell(table.loc[m]) if m in table.index else "" for m in methods]
    seeds = " to ".join(map(str, sorted({table["seeds"].min(), table["seeds"].max()})))
    return f"| {title} | {chance:.3g} | {table['n'].iloc[0]} | {seeds} | " + " | ".join(cells) + " |"


def scores(folder: Path) -> Iterator[Line]:
    """The rows of notebook 03; before what the image adds to the 5-option test what the mean image has."""
    for metric, part in pd.read_csv(folder / "03_rows.csv").groupby("metric", sort=False):
        yield metric, part["chance"].iloc[0], part.set_index("method"), with_interval
        if metric == "5-option accuracy":
            table = pd.read_csv(folder / "structure" / "image_gain.csv")
            blind = table[table["test"] == "5 options"].set_index("model")
            yield f"{metric}, mean image", blind["chance"].iloc[0], blind, lambda row: f"{row['mean image']:.3f}"


def aurocs(folder: Path) -> Iterator[Line]:
    for name in ("zero_shot", "linear_probe"):
        if (folder / "auroc" / f"{name}.csv").is_file():
            table = pd.read_csv(folder / "auroc" / f"{name}.csv")
            title = f"{name.replace('_', ' ')} AUROC, mean of {table['label'].nunique() - 1} labels"
            mean = table[table["label"] == "mean"].set_index("model")
            yield title + (untrained(folder) if name == "linear_probe" else ""), 0.5, mean, with_interval


def untrained(folder: Path) -> str:
    """What the same probe has of an encoder that was not trained."""
    table = pd.read_csv(folder / "05_classification.csv")
    chosen = (table["label"] == "mean") & (table["metric"] == "AUROC") & (table["share"] == 1)
    return f" (untrained {table[chosen & (table['model'] == 'untrained')]['value'].iloc[0]:.3f})"


def gains(folder: Path) -> Iterator[Line]:
    """Image gain of chosen tests."""
    table = pd.read_csv(folder / "structure" / "image_gain.csv")
    for test in GAINS:
        part = table[table["test"] == test].set_index("model")
        text = part[["n-gram", "TF-IDF"]].max(axis=None)
        title = f"**image gain**, {test.replace('_', ' ')}" + ("" if pd.isna(text) else f" (text alone {text:.2f})")
        yield title, 0, part, gain


def gain(row: pd.Series) -> str:
    if pd.isna(row["gain_low"]):
        return "too few studies" if row["n"] else "applies to no study"
    return f"{row['image_gain']:+.3f} [{row['gain_low']:+.3f}, {row['gain_high']:+.3f}]"


def located(folder: Path) -> Iterator[Line]:
    """Localisation by the similarity, and its gain over the best control: of all seeds, or of the first in notebook 04."""
    paths = folder / "localisation" / "localisation.csv", folder / "04_localisation.csv"
    for table in [pd.read_csv(path) for path in paths if path.is_file()][:1]:
        shown = table[table["input"].isin(["image", "gain over best control"])]
        shown = shown[shown["maps"] == "similarity"] if "maps" in shown else shown
        for (metric, given), part in shown.groupby(["metric", "input"], sort=False):
            title = f"{metric}, {given} (phrases of {part['studies'].iloc[0]} studies)"
            yield title, part["chance"].iloc[0], part.set_index("method"), with_interval


def speed_tables() -> str:
    """Ours beside the plain versions, memory, waiting, and the estimated hours, from the stored benchmark."""
    report = load_report(REFERENCE / "benchmark")
    facts = report.facts
    m = facts["machine"]
    rows = [f"{m['device']}, {m['cores']} cores, {m['gigabytes']} GB, torch {facts['versions']['torch']}; {facts['repeats']} "
            "turns or more of each version, medians (least to most).", ""]  # fmt: skip
    rows += ["| part | size | version | seconds | ratio | aim |", "|---" * 6 + "|"]
    for row in report.times[report.times["ratio"].notna()].itertuples():
        aim = "" if pd.isna(row.target) else f"{row.target} or more"
        what = row.of.removesuffix(" / this")
        rows.append(
            f"| {row.part} | {row.case} | {row.version} | {row.median_s:.3g} ({row.min_s:.3g} to {row.max_s:.3g}) | "
            f"{row.ratio:.2f} x as fast as {what} | {aim} |"
        )
    for row in report.times[report.times["gigabytes"].notna()].itertuples():
        aim = "" if pd.isna(row.target) else f"{row.target} GB or less"
        rows.append(f"| memory | {row.case} | {row.version} | {row.gigabytes:.2f} GB | | {aim} |")
    for row in report.times[report.times["images_per_s"].notna()].itertuples():
        aim = "1500 or more" if row.version.startswith("decode") else ""
        rows.append(f"| data | {row.case} | {row.version} | {row.images_per_s:,.0f} images a second | | {aim} |")
    for workers, share in facts["idle share of an epoch"].items():
        rows.append(
            f"| data | {facts['data'].split(',')[0]}, share of an epoch spent waiting | {workers} | {share:.1%} | | 5 % or less |"
        )
    tokens = facts["text pass"]
    rows.append(
        f"| text pass | tokens computed / useful tokens | ours | {tokens['tokens computed / useful']:.3f} | | 1.1 or less |"
    )
    operations = facts["operations of a pair, ResNet-50, BERT-base, 224 px"]
    rows += [
        "",
        f"An estimate, not a measurement: {describe(operations)}, K = 3, 150 epochs, at an assumed utilisation.",
        "",
    ]
    hours = gpu_hours(operations, 150)
    rows += ["| " + " | ".join(hours.columns) + " |", "|---" * len(hours.columns) + "|"]
    for values in hours.itertuples(index=False):
        cells = [f"{v:.3g}" if isinstance(v, float) else f"{v:,}" if isinstance(v, int) else v for v in values]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def ablation_rows() -> str:
    """A line for each row of the grid that was trained: retrieval, its difference to the baseline, twins, minutes."""
    table = pd.read_csv(REFERENCE / "grids" / "grounded" / "03_rows.csv")
    first, inside = "R@1 image to report", "exchange inside a sentence"
    across = [f"exchange across sentences: {name}" for name in ("side", "zone", "grade")]
    asked = {metric: table[table["metric"] == metric].set_index("method") for metric in (first, *across, inside)}
    n = {metric: int(part["n"].iloc[0]) for metric, part in asked.items()}
    baseline = table["minus"].dropna().iloc[0]
    head = [
        f"R@1 (n = {n[first]})",
        f"minus {baseline}",
        *(f"{m.split()[-1]} ({n[m]})" for m in across),
        f"inside ({n[inside]})",
    ]
    rows = ["| row | seeds | " + " | ".join(head) + " | minutes |", "|---" * (3 + len(head)) + "|"]
    for name, row in asked[first].iterrows():
        cells = [f"{row['value']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]", difference_of(row)]
        cells += [f"{asked[metric].loc[name, 'value']:.2f}" for metric in across]
        own = asked[inside].loc[name]
        cells.append(f"{own['value']:.2f} [{own['ci_low']:.2f}, {own['ci_high']:.2f}]")
        rows.append(f"| {name} | {int(row['seeds'])} | " + " | ".join(cells) + f" | {row['seconds'] / 60:.1f} |")
    return "\n".join(rows)


def difference_of(row: pd.Series) -> str:
    """'difference [low, high]', bold where it is sure after Holm's correction; '' for the baseline."""
    if pd.isna(row["difference"]):
        return ""
    sure = "**" if row["p_holm"] < 0.05 else ""
    return f"{sure}{row['difference']:+.3f}{sure} [{row['difference_low']:+.3f}, {row['difference_high']:+.3f}]"


def paper_rows() -> str:
    """A line for each row of the grid paper: the 5-option test, what the image adds to it, retrieval, beside the baseline."""
    table = pd.read_csv(REFERENCE / "grids" / "paper" / "03_rows.csv")
    gain = "5-option accuracy, image - mean image"
    five, added, first = (
        table[table["metric"] == metric].set_index("method")
        for metric in ("5-option accuracy", gain, "R@1 image to report")
    )
    baseline = table["minus"].dropna().iloc[0]
    head = ["5 options", f"minus {baseline}", "image - mean image", "R@1", f"minus {baseline}", "minutes"]
    rows = ["| row | seeds | " + " | ".join(head) + " |", "|---" * (2 + len(head)) + "|"]
    for name, row in five.iterrows():
        cells = [
            f"{row['value']:.3f}",
            difference_of(row),
            with_signs(added.loc[name]),
            f"{first.loc[name, 'value']:.3f}",
        ]
        cells += [difference_of(first.loc[name]), f"{row['seconds'] / 60:.1f}"]
        rows.append(f"| {name} | {int(row['seeds'])} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def left_out_rows() -> str:
    """A line for each kind of copy: told by PRD that has seen it, and by PRD that has not, of two seeds, with what the image
    gives there to the first."""
    folder = REFERENCE / "grids" / "leave_one_out"
    gains, again = (
        pd.read_csv(folder / name / "image_gain.csv").set_index(["model", "test"])
        for name in ("structure", "structure_seed1")
    )
    rows = pd.read_csv(folder / "03_rows.csv").set_index(["metric", "method"])
    baseline = rows["minus"].dropna().iloc[0]
    head = ["kind of copy", "n", "seen in training", "never seen", "seen, seed 1", "never seen, seed 1", "never seen: mean image",
            "never seen: image gain", f"R@1 minus {baseline}, both seeds"]  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for kind in WORD_ORDER:
        name = f"without {kind}"
        if (name, kind) not in gains.index:
            continue  # not trained
        seen, never = gains.loc[(baseline, kind)], gains.loc[(name, kind)]
        second = [f"{again.loc[(model, kind)]['accuracy']:.3f}" for model in (baseline, name)]
        gain = f"{never['image_gain']:+.3f} [{never['gain_low']:+.3f}, {never['gain_high']:+.3f}]"
        accuracies = [f"{row['accuracy']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]" for row in (seen, never)]
        cells = [*second, f"{never['mean image']:.3f}", gain, difference_of(rows.loc[("R@1 image to report", name)])]
        lines.append(f"| {kind} | {never['n']} | " + " | ".join([*accuracies, *cells]) + " |")
    return "\n".join(lines)


def with_signs(row: pd.Series) -> str:
    return f"{row['value']:+.3f} [{row['ci_low']:+.3f}, {row['ci_high']:+.3f}]"


def openi_rows() -> str:
    """A line for each row of the grid on Open-I: retrieval, its difference to the baseline, AUROC, left from right, minutes."""
    folder = REFERENCE / "grids" / "openi"
    table = pd.read_csv(folder / "03_rows.csv")
    first, tenth = (table[table["metric"] == f"R@{k} image to report"].set_index("method", drop=False) for k in (1, 10))
    parts = {name: pd.read_csv(folder / "auroc" / f"{name}.csv") for name in ("zero_shot", "linear_probe", "sides")}
    means = [parts[name][parts[name]["label"] == "mean"].set_index("model") for name in ("zero_shot", "linear_probe")]
    sides = [
        parts["sides"][parts["sides"]["task"] == task].set_index("model") for task in ("zero-shot", "linear probe")
    ]
    n, baseline = int(first["n"].iloc[0]), tenth["minus"].dropna().iloc[0]
    head = [f"R@1 (n = {n})", f"R@10 (n = {n})", f"R@10 minus {baseline}", "zero-shot AUROC", "probe AUROC",
            f"left or right, zero-shot ({int(sides[0]['n'].iloc[0])})", "left or right, probe", "minutes"]  # fmt: skip
    rows = ["| row | seeds | " + " | ".join(head) + " |", "|---" * (2 + len(head)) + "|"]
    for name in first.index:
        cells = [f"{first.loc[name, 'value']:.3f}", with_interval(tenth.loc[name])]
        row = tenth.loc[name]
        cells.append(f"{row['difference']:+.3f} [{row['difference_low']:+.3f}, {row['difference_high']:+.3f}]"
                     if pd.notna(row["difference"]) else "")  # fmt: skip
        cells += [with_interval(part.loc[name]) if name in part.index else "not kept" for part in (*means, *sides)]
        cells.append(f"{row['seconds'] / 60:.1f}")
        rows.append(f"| {name} | {int(row['seeds'])} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def downstream_rows() -> str:
    """A table for each stored overview: value [interval] | control, a column for each model."""
    tables = []
    for folder in sorted((REFERENCE / "downstream").iterdir()):
        overview, facts = pd.read_csv(folder / "overview.csv"), json.loads((folder / "facts.json").read_text())
        names = {"phantom": "Phantom", "openi": "Open-I, frontal films"}
        title = f"{names[facts['data']]}, profile {facts['profile']}: {facts['test studies']} studies of patients never seen"
        models = list(dict.fromkeys(overview["model"]))
        seeds = ", ".join(f"{m} {len(n)}" for m, n in facts["seeds"].items())
        rows = [f"**{title}** (trainings: {seeds}; [every table](papermill_runs/reference/downstream/{folder.name})"
                + (f"; {facts['note']}" if "note" in facts else "") + ")",
                "", "| task | score | chance | n | " + " | ".join(models) + " |", "|---" * (4 + len(models)) + "|"]  # fmt: skip
        for task, starts in SHOWN:
            part = overview[(overview["task"] == task) & overview["metric"].str.startswith(starts)]
            for metric, lines in part.groupby("metric", sort=False):
                by_model, first = lines.set_index("model"), lines.iloc[0]
                cells = [control_cell(by_model.loc[m]) if m in by_model.index else "" for m in models]
                rows.append(f"| {task} | {metric} | {first['chance']:.3g} | {first['n']} | " + " | ".join(cells) + " |")
        tables.append("\n".join(rows))
    return "\n\n".join(tables)


def maps_rows() -> str:
    """A line for each kind of maps of notebook 04, then of words: gain over the best control, own value, the control's."""
    gains, words = (pd.read_csv(REFERENCE / "cpu" / f"{name}.csv") for name in ("04_gains", "04_word_scores"))
    metrics = list(dict.fromkeys(gains["metric"]))
    chance = gains.drop_duplicates("metric").set_index("metric")["own_chance"]
    rows = [
        "| map | " + " | ".join(f"{m}, chance {chance[m]:.2g}" for m in metrics) + " |",
        "|---" * (1 + len(metrics)) + "|",
    ]
    for name, part in gains.groupby("maps", sort=False):
        part = part.set_index("metric")
        cells = [gain_cell(part.loc[m], *part.loc[m, ["own", "own_low", "own_chance"]]) for m in metrics]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    for name, part in words.groupby("maps", sort=False):
        part = part.set_index("input")
        cell = gain_cell(part.loc["gain over best control"], *part.loc["image", ["value", "ci_low", "chance"]])
        rows.append(f"| words: {name}" + " |" * len(metrics) + f" {cell} |")
    return "\n".join(rows)


def gain_cell(gain: pd.Series, own: float, low: float, chance: float) -> str:
    """'own; gain [low, high]', bold where the gain is above 0 and the score itself above chance."""
    sure = "**" if gain["ci_low"] > 0 and low > chance else ""
    return f"{own:.2f}; {sure}{gain['value']:+.3f}{sure} [{gain['ci_low']:+.3f}, {gain['ci_high']:+.3f}]"


def control_cell(row: pd.Series) -> str:
    return with_interval(row) + ("" if pd.isna(row["control"]) else f", {row['control']:.2f}")


def with_interval(row: pd.Series) -> str:
    return f"{row['value']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"


def settings_table() -> str:
    rows = ["| setting | default | values | meaning |", "|---|---|---|---|"]
    for row in reference(RunConfig):
        default = ", ".join(map(str, row["default"])) if isinstance(row["default"], list) else row["default"]
        default = f"{default:.4g}" if isinstance(default, float) else default
        rows.append(f"| `{row['setting']}` | {default} | {row['range']} | {row['help']} |")
    return "\n".join(rows)


def between(marks: tuple[str, str]) -> str:
    return page_of(marks).read_text().split(marks[0])[1].split(marks[1])[0].strip()


def page_of(marks: tuple[str, str]) -> Path:
    pages = {ABLATION: "docs/grounded.md", **dict.fromkeys((OPENI, PAPER, LEFT_OUT), "docs/ablations.md")}
    return ROOT / pages.get(marks, "README.md")


def test_gains_of_maps_are_those_of_the_reference_run():
    assert between(MAPS) == maps_rows()


def test_settings_table_is_the_dataclasses():
    assert between(MARKS) == settings_table()


def test_results_are_those_of_the_reference_runs():
    assert between(RESULTS) == results_tables()


def test_the_ablation_is_the_stored_one():
    assert between(ABLATION) == ablation_rows()


def test_the_grid_on_real_reports_is_the_stored_one():
    assert between(OPENI) == openi_rows()


def test_rows_of_the_papers_method_are_those_of_the_stored_ablation():
    assert between(PAPER) == paper_rows()


def test_kinds_that_were_left_out_are_those_of_the_stored_ablation():
    assert between(LEFT_OUT) == left_out_rows()


def test_the_downstream_tables_are_the_stored_ones():
    assert between(DOWNSTREAM) == downstream_rows()


def test_speed_is_that_of_the_stored_benchmark():
    assert between(SPEED) == speed_tables()


def test_reference_of_the_phantom_is_of_todays_settings():
    runs = {load_profile("cpu", {"training.precision": p}).run_id for p in ("bf16", "float32")}
    for sidecar in sorted((REFERENCE / "cpu").glob("*.json")):
        facts = json.loads(sidecar.read_text())
        assert facts.get("run", facts.get("run_id")) in runs, sidecar.name


def test_links_inside_the_project_exist():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_make_targets_that_are_named_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`make (\w+)", (ROOT / "README.md").read_text())):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def snippet(heading: str) -> str:
    return (ROOT / "README.md").read_text().split(f"## {heading}")[1].split("```python\n")[1].split("```")[0]


@pytest.mark.parametrize("gaps", [False, True])
def test_own_data_and_inference_work_as_written(tmp_path, monkeypatch, tiny_config, gaps):
    monkeypatch.chdir(tmp_path)
    for i in range(24):
        Image.fromarray(np.full((40, 50), 10 * i, np.uint8)).save(f"{i}.png")
    table = pd.DataFrame(
        {"study_id": range(24), "patient_id": range(24), "image": [f"{i}.png" for i in range(24)], "view": "Frontal",
         "report": [f"Finding number {i} is stable." for i in range(24)], "label:Edema": [1, 0, None] * 8}
    )  # fmt: skip
    if gaps:
        table["patient_id"] = table["patient_id"].astype("Int64")
        table.loc[1, "report"], table.loc[2, "report"], table.loc[3, "patient_id"] = None, "...", None
    table.to_csv("mine.csv", index=False)
    names = {}
    with monkeypatch.context() as patch:
        patch.setattr("prdlib.config.load_profile", lambda _: tiny_config)
        exec(snippet("Your own data"), names)
    assert len(names["result"].history) == tiny_config.training.epochs
    kept = sum(map(len, names["data"].values()))
    assert kept == 24 - len(pd.read_csv("prepared/mine/dropped.csv")) == (21 if gaps else 24)
    Path("papermill_runs/reference/checkpoints").mkdir(parents=True)
    Path("checkpoints/mine").rename("papermill_runs/reference/checkpoints/cpu-prd-seed0")
    exec(snippet("Use a trained model"), names)
    assert (names["images"] @ names["reports"].T).shape == (1, 2)
    exec(snippet("Explain a pair"), names)
    assert len(snippet("Explain a pair").strip().splitlines()) <= 10
    assert names["found"].map.shape == names["lead"].map.shape == (96, 96)
    assert names["found"].words == ("small", "left", "pleural", "effusion")
    assert names["lead"].target == "lead over the perturbed report"


def test_profiles_that_own_data_name_exist():
    for name in re.findall(r'load_profile\("(\w+)"\)', (ROOT / "README.md").read_text()):
        load_profile(name)


if __name__ == "__main__":
    tables = {MARKS: settings_table(), RESULTS: results_tables(), SPEED: speed_tables(), ABLATION: ablation_rows(),
              PAPER: paper_rows(), LEFT_OUT: left_out_rows(), OPENI: openi_rows(), DOWNSTREAM: downstream_rows(),
              MAPS: maps_rows()}  # fmt: skip
    for marks, table in tables.items():
        page, (start, end) = page_of(marks), marks
        text = page.read_text()
        page.write_text(text.replace(text[text.index(start) : text.index(end)], f"{start}\n{table}\n"))


def test_the_readme_counts_the_rows_of_its_grids():
    told = re.findall(r"run --grid (\w+) .*?(\d+) rows", (ROOT / "README.md").read_text())
    assert len(told) == 2
    assert {name: int(rows) for name, rows in told} == {name: len(load_ablation(name).rows) for name, _ in told}
