"""True rewordings beside false edits: is a model sensitive to words, or to what they mean?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from prdlib.evaluation.adapters import DualEncoder
from prdlib.evaluation.benchmark_set import BenchmarkSet
from prdlib.evaluation.image_gain import FEWEST, embed_texts, image_vectors
from prdlib.evaluation.scores import pair_scores
from prdlib.evaluation.statistics import redraw_seeds, resampled_studies
from prdlib.text import FAMILIES


def paraphrase_outcomes(model: DualEncoder, images: np.ndarray, benchmark: BenchmarkSet) -> pd.DataFrame:
    """One row per paraphrase and study: paraphrase, study_id, prefers_original (1 where the original scores higher, 1/2 for
    a tie), above (false
    clinical edits of the study that score below the paraphrase, ties not counted), pairs (its false edits)."""
    kinds = [k for k in FAMILIES["paraphrase"] if k in benchmark.kinds]
    edits = [k for k in FAMILIES["clinical"] if k in benchmark.kinds]
    texts = {c for k in (*kinds, *edits) for c in benchmark.copies[k] if c is not None} | set(benchmark.originals)
    reports, place = embed_texts(model, sorted(texts), benchmark.marked)
    vectors, rows = image_vectors(model, images), []
    for kind in kinds:
        for i in benchmark.applicable(kind):
            wrong = [benchmark.copies[k][i] for k in edits if benchmark.copies[k][i] is not None]
            asked = [benchmark.copies[kind][i], benchmark.originals[i], *wrong]
            asked_embeds = reports[[place[words] for words in asked]]
            true, original, *false = pair_scores(vectors[i : i + 1], asked_embeds[None])[0].tolist()
            prefers = float(original > true) + 0.5 * (original == true)
            rows.append((kind, benchmark.study_ids[i], prefers, float(sum(true > f for f in false)), len(false)))
    return pd.DataFrame(rows, columns=["paraphrase", "study_id", "prefers_original", "above", "pairs"])


def paraphrase_table(outcomes: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """What true rewordings do to a score, beside what false edits do, with 95 % intervals.

    outcomes: rows of :func:`paraphrase_outcomes`; a column ``seed`` makes training seeds a second level of the bootstrap.
    For each paraphrase: prefers_original (share of studies in which the original scores higher, a tie counting half: 0.5 is what
    meaning asks for), above_edit (share of the pairs of a paraphrase, which is true, and a clinical edit of the same study, which
    is false, in which the paraphrase scores higher; chance 0.5, a tie is wrong), each with _low and _high (NaN below FEWEST
    studies); n: studies; pairs; seeds.
    """
    outcomes, rows = outcomes if "seed" in outcomes else outcomes.assign(seed=0), []
    for kind, part in outcomes.groupby("paraphrase", sort=False):
        wide = part.pivot(index="study_id", columns="seed", values=["prefers_original", "above", "pairs"]).dropna()
        n, seeds = len(wide), part["seed"].nunique()
        values = np.stack([wide[c].to_numpy() for c in ("prefers_original", "above", "pairs")])  # [3, n, seeds]
        prefers, above, pairs = values.mean(axis=(1, 2))
        row = {"paraphrase": kind, "prefers_original": prefers, "above_edit": above / pairs if pairs else np.nan}
        if n >= FEWEST:
            prefer, right, asked = resampled_studies(values, resamples, seed)  # [draws, seeds] each
            by_seed = {"prefers_original": prefer, "above_edit": right / np.maximum(asked, 1 / n)}
            shares = {name: redraw_seeds(share, seed).clip(0, 1) for name, share in by_seed.items()}
            row |= {f"{name}{end}": np.percentile(share, q)
                    for name, share in shares.items() for end, q in (("_low", 2.5), ("_high", 97.5))}  # fmt: skip
        rows.append({**row, "n": n, "pairs": int(values[2, :, 0].sum()), "seeds": seeds})
    columns = ["paraphrase", "prefers_original", "prefers_original_low", "prefers_original_high", "above_edit", "above_edit_low",
               "above_edit_high", "n", "pairs", "seeds"]  # fmt: skip
    return pd.DataFrame(rows).reindex(columns=columns)
