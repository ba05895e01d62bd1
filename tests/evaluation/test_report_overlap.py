"""BLEU-4, ROUGE-L and label F1 by hand, against the libraries on whole corpora, and from sums over studies."""

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU
from sklearn.metrics import f1_score

from prdlib.data import DataError
from prdlib.evaluation import report_overlap
from prdlib.evaluation.report_overlap import (
    METRICS,
    N_GRAMS,
    bleu_counts,
    bleu_signature,
    corpus_bleu,
    f1_scores,
    label_counts,
    overlap_scores,
    overlap_statistics,
    require_generation,
    rouge_l,
)

OWN = [
    ["small", "left", "pleural", "effusion", "with", "mild", "edema"],
    ["the", "lungs", "are", "clear", "without", "edema"],
]
OTHER = [["small", "right", "pleural", "effusion", "with", "mild", "edema"], ["no", "acute", "disease"]]


def drawn_reports(number, seed):
    rng = np.random.default_rng(seed)
    return [[f"w{i}" for i in rng.integers(0, 6, size=rng.integers(1, 15))] for _ in range(number)]


def test_identical_reports_have_all():
    labels = np.array([[1.0, 0], [0, 1]])
    scores = overlap_scores(overlap_statistics(OWN, OWN, labels, labels).sum(axis=0, keepdims=True)).iloc[0]
    assert scores.index.tolist() == list(METRICS)
    assert scores.tolist() == pytest.approx([100, 1, 1, 1])


def test_reports_without_a_common_word_have_nothing():
    sums = overlap_statistics([["a", "b", "c", "d"]], [["e", "f", "g", "h"]], np.array([[0.0]]), np.array([[1.0]]))
    assert overlap_scores(sums).iloc[0].tolist() == [0, 0, 0, 0]


def test_bleu_by_hand():
    counts = bleu_counts(OTHER, OWN)
    # 'right' for 'left' leaves 6 of 7 words, 4 of 6 pairs, 3 of 5 triples, 2 of 4 quadruples; the second shares no word.
    assert counts.tolist() == [[6, 4, 3, 2, 7, 6, 5, 4, 7, 7], [0, 0, 0, 0, 3, 2, 1, 0, 3, 6]]
    precisions = [6 / 10, 4 / 8, 3 / 6, 2 / 4]
    assert corpus_bleu(counts.sum(axis=0)) == pytest.approx(100 * np.exp(1 - 13 / 10) * np.prod(precisions) ** 0.25)


def test_bleu_of_sums_is_that_of_sacrebleu_on_the_corpus_and_on_a_resample():
    reports, references = drawn_reports(30, 0), drawn_reports(30, 1)
    counts = bleu_counts(reports, references)
    assert counts.shape == (30, N_GRAMS)
    texts, targets = ([" ".join(words) for words in side] for side in (reports, references))
    weights = np.random.default_rng(2).multinomial(30, np.full(30, 1 / 30))
    for times in (np.ones(30, dtype=int), weights):
        repeated = [list(np.repeat(side, times)) for side in (texts, targets)]
        expected = BLEU(tokenize="none").corpus_score(repeated[0], [repeated[1]]).score
        assert corpus_bleu(times @ counts) == pytest.approx(expected)
    assert bleu_signature().startswith("nrefs:1|case:mixed|eff:no|tok:none|smooth:exp|version:")


def test_rouge_by_hand_and_by_the_library():
    values = rouge_l([*OTHER, OWN[0]], [*OWN, OWN[0][::-1]])
    assert values == pytest.approx([6 / 7, 0, 1 / 7])  # of a reversed report one word is in order
    short = rouge_l([["clear", "lungs"]], [["the", "lungs", "are", "clear", "today"]])
    assert short == pytest.approx([2 * (1 / 2) * (1 / 5) / (1 / 2 + 1 / 5)])
    reports, references = drawn_reports(10, 3), drawn_reports(10, 4)
    expected = [
        RougeScorer(["rougeL"]).score(" ".join(b), " ".join(a))["rougeL"].fmeasure
        for a, b in zip(reports, references, strict=True)
    ]  # its own tokeniser leaves such words whole
    assert rouge_l(reports, references) == pytest.approx(expected)
    assert rouge_l([["3.5", "cm"]], [["3", "5", "cm"]])[0] < 1  # a decimal number is one word


def test_f1_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    truth, stated = (rng.random((2, 60, 3)) < 0.3).astype(float)
    micro, macro = f1_scores(label_counts(stated, truth).sum(axis=1))
    assert micro == pytest.approx(f1_score(truth, stated, average="micro"))
    assert macro == pytest.approx(f1_score(truth, stated, average="macro"))


def test_f1_by_hand_with_labels_that_are_not_judged_or_nowhere_present():
    truth = np.array([[1, 0, np.nan], [1, 0, -1], [0, 0, -1]])
    stated = np.array([[1, 1, 1], [-1, 0, 1], [np.nan, 0, 1]])
    right, wrong, missed = label_counts(stated, truth).sum(axis=1)
    assert (right.tolist(), wrong.tolist(), missed.tolist()) == ([1, 0, 0], [0, 1, 0], [1, 0, 0])
    micro, macro = f1_scores(np.stack([right, wrong, missed]))
    assert micro == pytest.approx(2 / 4)  # one right, one wrong, one missed
    assert macro == pytest.approx(2 / 3)  # of the first label alone, no study has another
    assert np.isnan(f1_scores(np.array([[0.0], [3], [0]]))).all()  # nothing to be found, whatever is stated
    sums = overlap_statistics(OWN, OWN, np.zeros((2, 0)), np.zeros((2, 0))).sum(axis=0, keepdims=True)
    assert overlap_scores(sums).iloc[0].tolist() == pytest.approx([100, 1, np.nan, np.nan], nan_ok=True)


@pytest.mark.parametrize("missing", ["sacrebleu", "rouge_score"])
def test_without_the_libraries_one_sentence_says_what_to_install(monkeypatch, missing):
    monkeypatch.setattr(report_overlap, "find_spec", lambda name: None if name == missing else name)
    sentence = (
        r"^BLEU and ROUGE-L are computed by sacrebleu and rouge-score, which are not both installed: "
        r"pip install 'prdlib\[generation\]'\.$"
    )
    for call in (require_generation, lambda: rouge_l(OWN, OWN), lambda: bleu_counts(OWN, OWN)):
        with pytest.raises(DataError, match=sentence):
            call()
