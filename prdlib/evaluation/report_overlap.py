"""How much of a study's own report another report says: BLEU-4, ROUGE-L, label F1, as sums over studies.

Words are the project's normalised words inside the limit, as encoders see them; no other tokenisation is done.

    BLEU-4         of the whole corpus (Papineni et al., ACL 2002), 0 to 100, by sacrebleu (tok:none, smooth:exp, one reference).
                   Not a mean over sentences: of a short report that mean says more of the smoothing than of the words
    ROUGE-L        mean over studies of the F-measure of the longest common subsequence (Lin, 2004), 0 to 1, by rouge-score
    label F1       of the labels of the study that the report comes from against the study's own, 0 to 1; micro, and macro over
                   the labels that are present in some study. A label that is uncertain or not mentioned is not stated, as is the
                   custom for generated reports; where it is so of the study itself, it is not asked

Every score is a function of sums over studies, so that studies can be drawn anew: :func:`overlap_statistics` gives what each adds
up to, :func:`overlap_scores` the scores of such sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pandas as pd

from prdlib.data.studies import DataError

METRICS = ("BLEU-4", "ROUGE-L", "label F1, micro", "label F1, macro")
ORDERS = 4
N_GRAMS = 2 * ORDERS + 2  # matched and all n-grams of each order, words of the report, words of the reference
Words = Sequence[str]


def require_generation() -> None:
    """DataError with the command that installs them when sacrebleu or rouge-score is missing."""
    if find_spec("sacrebleu") is None or find_spec("rouge_score") is None:
        raise DataError(
            "BLEU and ROUGE-L are computed by sacrebleu and rouge-score, which are not both installed: "
            "pip install 'prdlib[generation]'."
        )


def bleu_signature() -> str:
    """sacrebleu's signature of BLEU-4 as it is computed here, to be quoted beside a number."""
    require_generation()
    from sacrebleu.metrics import BLEU

    metric = BLEU(tokenize="none")
    metric.corpus_score(["x"], [["x"]])  # the number of references is known only then
    return str(metric.get_signature())


def rouge_l(reports: Sequence[Words], references: Sequence[Words]) -> np.ndarray:
    """ROUGE-L, F-measure, of each report (words) with its reference (words): [n] in 0 to 1; equal pairs are scored once."""
    require_generation()
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], tokenizer=SimpleNamespace(tokenize=str.split))
    pairs = [(" ".join(a), " ".join(b)) for a, b in zip(reports, references, strict=True)]
    found = {pair: scorer.score(pair[1], pair[0])["rougeL"].fmeasure for pair in dict.fromkeys(pairs)}
    return np.array([found[pair] for pair in pairs], dtype=float)


def bleu_counts(reports: Sequence[Words], references: Sequence[Words]) -> np.ndarray:
    """What each report (words) adds to a corpus' BLEU-4 with its reference (words): int64 [n, N_GRAMS]."""
    require_generation()
    from sacrebleu.metrics import BLEU

    metric = BLEU(tokenize="none", effective_order=True)  # only its counts are used
    found = [metric.sentence_score(" ".join(a), [" ".join(b)]) for a, b in zip(reports, references, strict=True)]
    rows = [[*s.counts, *s.totals, s.sys_len, s.ref_len] for s in found]
    return np.array(rows, dtype=np.int64).reshape(-1, N_GRAMS)


def corpus_bleu(counts: np.ndarray) -> float:
    """BLEU-4, 0 to 100, of the summed counts [N_GRAMS] of :func:`bleu_counts`."""
    require_generation()
    from sacrebleu.metrics import BLEU

    numbers = np.rint(counts).astype(int).tolist()
    return float(
        BLEU.compute_bleu(numbers[:ORDERS], numbers[ORDERS : 2 * ORDERS], *numbers[-2:], smooth_method="exp").score
    )


def label_counts(stated: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """[3, n, L]: 1 where a label is rightly stated, wrongly stated, missed. stated, truth: [n, L]; 1 is stated, whatever else is
    not; a truth other than 1 and 0 is not asked."""
    said, true, false = stated == 1, truth == 1, truth == 0
    return np.stack([said & true, said & false, ~said & true]).astype(float)


def f1_scores(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(micro, macro) F1 of sums [..., 3, L] of :func:`label_counts`: [...] each. macro: over the labels with a positive study.
    Both are NaN where no label has one, whatever is stated: there is nothing to be found."""

    right, wrong, missed = (sums[..., i, :] for i in range(3))
    asked = right + missed > 0
    number = asked.sum(axis=-1)
    total = _f1(right, wrong, missed, asked).sum(axis=-1)
    macro = np.divide(total, number, out=np.full(np.shape(total), np.nan), where=number > 0)
    micro = _f1(*(part.sum(axis=-1) for part in (right, wrong, missed)), number > 0)
    return np.where(number > 0, micro, np.nan), macro


def _f1(right: np.ndarray, wrong: np.ndarray, missed: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """2 right / (2 right + wrong + missed), and 0 where it is not ``asked``."""
    return np.divide(2 * right, 2 * right + wrong + missed, out=np.zeros(np.shape(right)), where=asked)


def overlap_statistics(
    reports: Sequence[Words], references: Sequence[Words], stated: np.ndarray, truth: np.ndarray
) -> np.ndarray:
    """What each study adds to every score: float64 [n, N_GRAMS + 2 + 3 L].

    reports, references: n as words, the one that is scored and the study's own; stated, truth: [n, L] the labels of the two.
    """
    labels = label_counts(stated, truth)
    scores = np.stack([rouge_l(reports, references), np.ones(len(reports))], axis=1)
    return np.concatenate([bleu_counts(reports, references), scores, *labels], axis=1)


def overlap_scores(sums: np.ndarray) -> pd.DataFrame:
    """The METRICS of sums [b, N_GRAMS + 2 + 3 L] of :func:`overlap_statistics` over studies: one row for each."""
    number = (sums.shape[1] - N_GRAMS - 2) // 3
    micro, macro = f1_scores(sums[:, N_GRAMS + 2 :].reshape(len(sums), 3, number))
    bleu = [corpus_bleu(row) for row in sums[:, :N_GRAMS]]
    rouge = sums[:, N_GRAMS] / sums[:, N_GRAMS + 1]
    return pd.DataFrame(dict(zip(METRICS, (bleu, rouge, micro, macro), strict=True)))
