"""True rewordings beside false edits: is a model sensitive to words, or to what they mean?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from prdlib.evaluation.adapters import DualEncoder
from prdlib.evaluation.benchmark_set import BenchmarkSet
from prdlib.evaluation.image_gain import embed_texts, image_vectors
from prdlib.evaluation.statistics import bootstrap_weights
from prdlib.text import FAMILIES


def paraphrase_table(
    model: DualEncoder, images: np.ndarray, benchmark: BenchmarkSet, resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """What true rewordings do to a score, beside what false edits do.

    For each paraphrase: ``prefers original`` (share of studies in which the original scores higher; 0.5 is what meaning asks
    for), and ``above edit``: the share of (study, clinical edit) pairs in which the paraphrase, which is true, scores above the
    edit, which is false (chance 0.5; ties wrong), with 95 % intervals over studies. n: studies; pairs.
    """
    kinds = [k for k in FAMILIES["paraphrase"] if k in benchmark.kinds]
    edits = [k for k in FAMILIES["clinical"] if k in benchmark.kinds]
    texts = {c for k in (*kinds, *edits) for c in benchmark.copies[k] if c is not None} | set(benchmark.originals)
    reports, place = embed_texts(model, sorted(texts))
    vectors = image_vectors(model, images)
    rows = []
    for kind in kinds:
        studies, original, pairs = [], [], []
        for i in benchmark.applicable(kind):
            score = [
                float((vectors[i] * reports[place[w]]).sum())
                for w in (benchmark.originals[i], benchmark.copies[kind][i])
            ]
            wrong = [benchmark.copies[k][i] for k in edits if benchmark.copies[k][i] is not None]
            studies.append(i)
            original.append(float(score[0] > score[1]))
            pairs.append([float(score[1] > float((vectors[i] * reports[place[w]]).sum())) for w in wrong])
        rows.append({"paraphrase": kind, **_paraphrase_row(original, pairs, resamples, seed)})
    return pd.DataFrame(rows)


def _paraphrase_row(original: list[float], pairs: list[list[float]], resamples: int, seed: int) -> dict[str, float]:
    if not original:
        return {
            "prefers original": np.nan,
            "above edit": np.nan,
            "ci_low": np.nan,
            "ci_high": np.nan,
            "n": 0,
            "pairs": 0,
        }
    weights = bootstrap_weights(np.arange(len(original)), resamples, seed)
    sums, counts = np.array([sum(p) for p in pairs]), np.array([len(p) for p in pairs])
    drawn = (weights @ sums) / np.maximum(weights @ counts, 1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    share = sums.sum() / counts.sum() if counts.sum() else np.nan
    return {"prefers original": float(np.mean(original)), "above edit": share, "ci_low": low, "ci_high": high,
            "n": len(original), "pairs": int(counts.sum())}  # fmt: skip
