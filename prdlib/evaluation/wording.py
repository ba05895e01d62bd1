"""What a table shows, in a sentence with its numbers: the conclusions of the notebooks. Nothing is claimed beyond an interval.

And long tables made short enough to be read: one column per method (:func:`side_by_side`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from prdlib.evaluation.statistics import SURE
from prdlib.names import METHODS, in_order


def one_training(table: pd.DataFrame) -> str:
    """The conclusion of notebook 02 from the rows of :func:`prdlib.evaluation.overview.overview`."""
    rows = {(r.metric, r.input): r for r in table.itertuples()}
    found = rows["R@1 image to report", "image"]
    lines = [f"R@1 image to report: {_share(found)}, chance {found.chance:.3f}, among {int(found.pool)} reports."]
    name = next((metric for metric, source in rows if source == "image - mean image"), None)
    if name:
        seen, unseen, gain = (rows[name, source] for source in ("image", "mean image", "image - mean image"))
        said = "above" if gain.ci_low > 0 else "below" if gain.ci_high < 0 else "with no sure difference to"
        scores = f"{seen.value:.3f} with the image, {unseen.value:.3f} with the mean image (chance {seen.chance:.1f})"
        lines.append(f"{name}: {scores}; {said} the mean image: {_share(gain)}.")
    return "\n".join(lines)


# What the lines of an ablation show, by their short names.
HEADLINES = {
    "R@1 image to report": "R@1",
    "R@10 image to report": "R@10",
    "5-option accuracy": "5 options",
    "5-option accuracy, image - mean image": "5 options, image - mean image",
    "exchange inside a sentence": "exchange inside a sentence",
}


def against_baseline(rows: pd.DataFrame) -> str:
    """The conclusion of notebook 03 from the rows of :func:`prdlib.evaluation.ablation_table.ablation_table`: what is sure after
    Holm's correction over all of them."""
    compared = rows.dropna(subset="minus")
    if compared.empty:
        return "One method alone, or no baseline: there is nothing to compare."
    lines = []
    for method in in_order(compared["method"]):
        part = compared[compared["method"] == method]
        sure = part["p_holm"] < SURE
        parts = []
        for word, chosen in (("above", sure & (part["difference"] > 0)), ("below", sure & (part["difference"] < 0))):
            names = [f"{r.metric} ({r.difference:+.3f})" for r in part[chosen].itertuples()]
            parts += [f"{word} in {', '.join(names)}"] if names else []
        one = part["p_holm"].isna().all()
        said = "one seed or too few studies, so nothing is claimed" if one else "; ".join(parts) or "no sure difference"
        lines.append(f"{method} against {part['minus'].iloc[0]}: {said}.")
    tests = int(compared["p_holm"].notna().sum())
    return "\n".join(
        [*lines, f"Sure: p < {SURE} after Holm's correction over all {tests} comparisons that have two seeds or more."]
    )


def ablation_sheet(rows: pd.DataFrame, names: Sequence[str] = ()) -> pd.DataFrame:
    """The rows of an ablation by the scores of HEADLINES, each with its chance, a line for each row: 'value [low, high]', with
    the mean image in the image's place after a bar where it was asked, and minutes of one training.

    rows: of :func:`prdlib.evaluation.ablation_table.ablation_table`, with seconds and mean image. names: of all rows that were
    asked: those without a finished training are lines of 'missing'."""

    def cell(row: Any) -> str:
        blind = row.blind
        return _share(row) + ("" if pd.isna(blind) else f" | {blind:.3f}")

    shown = _headlines(rows).rename(columns={"mean image": "blind"})
    shown["minutes"] = shown["seconds"] / 60
    heads = {
        score: score
        + (" | mean image" if part["blind"].notna().any() else "")
        + f" (chance {part['chance'].iloc[0]:.2g})"
        for score, part in shown.groupby("score")
    }
    sheet = _by_row(shown, ["seeds", "minutes"], cell).rename(columns=heads)
    absent = pd.DataFrame({"method": [name for name in names if name not in set(sheet["method"])], "seeds": 0})
    return pd.concat([sheet, absent.reindex(columns=sheet.columns).fillna("missing")], ignore_index=True)


def difference_sheet(rows: pd.DataFrame) -> pd.DataFrame:
    """Differences to the baseline by the scores of HEADLINES, a line for each row: 'difference [low, high]', * where it is
    sure, and n where it is not of all studies of the row. Empty without a baseline."""

    def cell(row: Any) -> str:
        if pd.isna(row.difference):
            return ""
        text = _interval(row.difference, row.difference_low, row.difference_high, "+.3f")
        text += "" if row.paired_studies == row.n else f" (n = {row.paired_studies})"
        return text + (" *" if row.p_holm < SURE else "")

    shown = _headlines(rows)
    return _by_row(shown[shown["minus"].notna()], ["paired_seeds"], cell)


def _headlines(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["metric"].isin(list(HEADLINES))].assign(score=lambda t: t["metric"].map(HEADLINES))


def _by_row(rows: pd.DataFrame, facts: list[str], cell: Callable[[Any], str]) -> pd.DataFrame:
    """One line a row, in their order, with the facts of its first score; a score that was not asked is empty."""
    texts = rows.assign(text=[cell(row) for row in rows.itertuples()])
    lines = texts.drop_duplicates("method").set_index("method")[facts]
    wide = texts.pivot(index="method", columns="score", values="text") if len(texts) else pd.DataFrame()
    scores = [name for name in HEADLINES.values() if name in wide]
    lines = lines.join(wide[scores]).fillna(dict.fromkeys(scores, "")).round(1)
    return lines.loc[in_order(lines.index)].reset_index()


def image_gains(gains: pd.DataFrame) -> str:
    """The conclusion of the structure benchmark from the rows of :func:`prdlib.evaluation.image_gain.gain_table`."""
    lines, unasked = [], list(dict.fromkeys(gains.loc[gains["n"] == 0, "test"]))
    gains = gains[gains["n"] > 0]
    for model, part in gains.groupby("model", sort=False):
        sure = part[part["gain_low"] > 0]
        names = [f"{r.test.replace('_', ' ')} ({r.image_gain:+.2f})" for r in sure.itertuples()]
        said = f"image gain above 0 in {', '.join(names)}" if names else "image gain above 0 in no test"
        lines.append(
            f"{model}: {said} ({len(names)} of {len(part)} tests; 95 % intervals, not corrected for their number)."
        )
    never = [t for t in dict.fromkeys(gains["test"]) if not (gains.loc[gains["test"] == t, "gain_low"] > 0).any()]
    lines.append(f"In none of the models: {', '.join(t.replace('_', ' ') for t in never) or 'no test'}.")
    if unasked:
        lines.append(f"Edits that apply to no study: {', '.join(t.replace('_', ' ') for t in unasked)}.")
    return "\n".join(lines)


def gain_differences(differences: pd.DataFrame) -> str:
    """Which methods gain more, or less, than the baseline: rows of :func:`prdlib.evaluation.image_gain.gain_differences`."""
    if differences.empty:
        return "One method alone: there is nothing to compare."
    lines = []
    for model, part in differences.groupby("model", sort=False):
        part = part[part["p"].notna()]
        sure = [f"{r.test.replace('_', ' ')} ({r.value:+.2f})" for r in part[part["p_holm"] < 0.05].itertuples()]
        lines.append(
            f"{model} against {differences['minus'].iloc[0]}: image gain differs in {', '.join(sure) or 'no test'} "
            f"({len(sure)} of {len(part)} tests, p < 0.05 after Holm's correction over all {differences['p'].notna().sum()})."
        )
    return "\n".join(lines)


def cut_texts(table: pd.DataFrame) -> str:
    """How many texts of the structure benchmark were cut at a model's context: its table 'cut'."""
    told = [
        f"{row['model']}: {row['texts cut']} texts are longer than its context and were cut"
        for row in table.to_dict("records")
    ]
    return "\n".join(told) or "No text was longer than a model's context."


def side_by_side(
    table: pd.DataFrame, index: Sequence[str], columns: str, cell: Callable[[Any], str] | None = None
) -> pd.DataFrame:
    """A long table with one column per value of ``columns``: the methods in their order, then others; rows as in ``table``.

    index: the columns that name a row. cell: row of ``table`` -> text; None: 'value [low, high]'. A missing cell is empty,
    and a table without rows says so.
    """
    if table.empty:
        return pd.DataFrame({"": ["nothing to show: these data have no such rows"]})
    texts = [(cell or _share)(row) for row in table.itertuples()]
    wide = table.round(3).assign(text=texts).set_index([*index, columns])["text"].unstack(columns, sort=False)
    order = [m for m in METHODS if m in wide] + [name for name in wide if name not in METHODS]
    return wide[order].fillna("").rename_axis(columns=None).reset_index()


def beside_controls(overview: pd.DataFrame) -> pd.DataFrame:
    """An overview (prdlib.evaluate) with one column per model: 'value [low, high] | control', the control where there is one."""

    def cell(row: Any) -> str:
        return _share(row) + ("" if pd.isna(row.control) else f" | {row.control:.2f}")

    return side_by_side(overview, ["task", "metric", "chance", "n"], "model", cell)


def gain_sheet(gains: pd.DataFrame) -> pd.DataFrame:
    """The structure benchmark, one row a test and one column a model: 'accuracy / best blind control; gain [low, high]'.

    gains: rows of :func:`prdlib.evaluation.image_gain.gain_table`, with the text-only models beside them.
    """

    def cell(row: Any) -> str:
        if not row.n:
            return "applies to no study"
        return f"{row.accuracy:.2f} / {row.blind:.2f}; {_interval(row.image_gain, row.gain_low, row.gain_high, '+.2f')}"

    return side_by_side(gains, ["test", "chance", "n", "n-gram", "TF-IDF"], "model", cell)


def paraphrase_sheet(paraphrases: pd.DataFrame) -> pd.DataFrame:
    """Paraphrases, one column a model: 'prefers_original [low, high]; above_edit [low, high]'.

    paraphrases: rows of :func:`prdlib.evaluation.paraphrases.paraphrase_table`.
    """

    def cell(row: Any) -> str:
        prefers = _interval(row.prefers_original, row.prefers_original_low, row.prefers_original_high, ".2f")
        return f"{prefers}; {_interval(row.above_edit, row.above_edit_low, row.above_edit_high, '.2f')}"

    return side_by_side(paraphrases, ["paraphrase", "n", "pairs"], "model", cell)


def _share(row: Any) -> str:
    return _interval(row.value, row.ci_low, row.ci_high)


def _interval(value: float, low: float, high: float, digits: str = ".3f") -> str:
    """'value [low, high]'; without the interval where there is none, empty where there is no value."""
    if pd.isna(value):
        return ""
    return f"{value:{digits}}" + ("" if pd.isna(low) else f" [{low:{digits}}, {high:{digits}}]")


def binding(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``binding_table``, one column a place: 'value [low, high]', without an interval where too few twins have it."""
    if table.empty:
        return pd.DataFrame({"": ["nothing to show: these data have no twins"]})
    return side_by_side(table, ["exchanged", "chance"], "place", lambda r: f"{_share(r)}, n {r.n}")


def map_gains(headline: pd.DataFrame) -> str:
    """Which kinds of maps say more than their best control, and than chance: rows of
    :meth:`prdlib.faithfulness_report.FaithfulnessReport.headline`; 95 % intervals, not corrected for their number."""
    if headline.empty:
        return "No true boxes: maps of phrases cannot be scored."
    lines = []
    for kind, part in headline.groupby("maps", sort=False):
        sure = [f"{r.metric} (+{r.value:.3f} [{r.ci_low:.3f}, {r.ci_high:.3f}] over {r.best_control})"
                for r in part[(part["ci_low"] > 0) & (part["own_low"] > part["own_chance"])].itertuples()]  # fmt: skip
        lines.append(f"{kind}: above chance and the best control in {', '.join(sure) or 'no score'}, of {len(part)}.")
    return "\n".join([*lines, "95 % intervals, not corrected for their number."])


def agreement_gains(correlations: pd.DataFrame) -> str:
    """Which methods agree more on the study's image than on the best control's: rows of
    :func:`prdlib.evaluation.faithfulness.agreement`; 95 % intervals, not corrected for their number."""
    if correlations.empty:
        return "No maps to compare."
    gains = correlations[correlations["input"] == "gain over best control"]
    sure = [f"{r.first} and {r.second} ({r.value:+.2f} [{r.ci_low:+.2f}, {r.ci_high:+.2f}])"
            for r in gains[gains["ci_low"] > 0].itertuples()]  # fmt: skip
    return f"Agree more than under the best control: {', '.join(sure) or 'no two methods'}, of {len(gains)} pairs."
