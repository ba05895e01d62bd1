"""What a table shows, in a sentence with its numbers: the conclusions of the notebooks. Nothing is claimed beyond an interval."""

from __future__ import annotations

import pandas as pd

from prdlib.config import METHODS


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


def against_baseline(differences: pd.DataFrame) -> str:
    """The conclusion of notebook 03 from the rows of :func:`prdlib.evaluation.overview.paired_differences`."""
    if differences.empty:
        return "One method alone, or no baseline: there is nothing to compare."
    lines = []
    for method in [m for m in METHODS if m in set(differences["method"])]:
        part = differences[differences["method"] == method]
        above, below = part["ci_low"] > 0, part["ci_high"] < 0
        parts = []
        for word, chosen in (("above", above), ("below", below), ("no sure difference", ~above & ~below)):
            names = [f"{r.metric} ({r.value:+.3f})" for r in part[chosen].itertuples()]
            parts += [f"{word} in {', '.join(names)}"] if names else []
        lines.append(f"{method} against {part['minus'].iloc[0]}: " + "; ".join(parts) + ".")
    return "\n".join(lines)


def image_gains(gains: pd.DataFrame) -> str:
    """The conclusion of the structure benchmark from the rows of :func:`prdlib.evaluation.image_gain.gain_table`."""
    lines = []
    for model, part in gains.groupby("model", sort=False):
        sure = part[part["gain_low"] > 0]
        names = [f"{r.test.replace('_', ' ')} ({r.image_gain:+.2f})" for r in sure.itertuples()]
        said = f"image gain above 0 in {', '.join(names)}" if names else "image gain above 0 in no test"
        lines.append(
            f"{model}: {said} ({len(names)} of {len(part)} tests; 95 % intervals, not corrected for their number)."
        )
    never = [t for t in dict.fromkeys(gains["test"]) if not (gains.loc[gains["test"] == t, "gain_low"] > 0).any()]
    return "\n".join([*lines, f"In none of the models: {', '.join(t.replace('_', ' ') for t in never) or 'no test'}."])


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


def _share(row: object) -> str:
    return f"{row.value:.3f} [{row.ci_low:.3f}, {row.ci_high:.3f}]"
