"""Discriminators that never see an image: how much of a test can be answered from the text alone.

They are fitted on training reports and their copies. What they score is the part of a test that needs no radiograph.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from threadpoolctl import threadpool_limits

from prdlib.evaluation.benchmark_set import BenchmarkSet
from prdlib.evaluation.image_gain import highest, option_tests

START, END = "<s>", "</s>"
DISCOUNT = 0.75


class NgramModel:
    """An n-gram language model of reports with interpolated absolute discounting (Kneser and Ney, 1995, without their
    modified lower orders); unknown words share one unit of probability with the vocabulary."""

    def __init__(self, reports: Iterable[str], order: int = 3) -> None:
        self.order = order
        self.counts: list[Counter[tuple[str, ...]]] = [Counter() for _ in range(order)]
        self.contexts: list[Counter[tuple[str, ...]]] = [Counter() for _ in range(order)]
        self.kinds: list[Counter[tuple[str, ...]]] = [
            Counter() for _ in range(order)
        ]  # distinct words behind a context
        for report in reports:
            words = [START] * (order - 1) + report.split() + [END]
            for i in range(order - 1, len(words)):
                for n in range(order):
                    self.counts[n][tuple(words[i - n : i + 1])] += 1
        for n, table in enumerate(self.counts):
            for gram, number in table.items():
                self.contexts[n][gram[:-1]] += number
                self.kinds[n][gram[:-1]] += 1
        if not self.counts[0]:
            raise ValueError("A language model needs training reports: none was given.")
        self.vocabulary = len(self.counts[0]) + 1

    def score(self, report: str) -> float:
        """Mean log-probability of the report's words and its end, natural logarithm."""
        words = [START] * (self.order - 1) + report.split() + [END]
        places = range(self.order - 1, len(words))
        return sum(math.log(self._probability(tuple(words[i - self.order + 1 : i + 1]))) for i in places) / len(places)

    def _probability(self, gram: tuple[str, ...]) -> float:
        if not gram:
            return 1 / self.vocabulary
        n, context = len(gram) - 1, gram[:-1]
        lower = self._probability(gram[1:])
        total = self.contexts[n][context]
        if not total:
            return lower
        seen = max(self.counts[n][gram] - DISCOUNT, 0.0)
        return (seen + DISCOUNT * self.kinds[n][context] * lower) / total


@threadpool_limits.wrap(limits=1, user_api="blas")  # see prdlib.evaluation.classification
def copy_classifier(originals: Sequence[str], copies: Sequence[str]) -> Pipeline:
    """A logistic regression on TF-IDF of words, pairs and triples that tells originals (1) from copies (0).

    Raises ValueError when either is empty.
    """
    if not len(originals) or not len(copies):
        raise ValueError("A classifier of copies needs originals and copies: one of them is empty.")
    features = TfidfVectorizer(ngram_range=(1, 3), sublinear_tf=True, token_pattern=r"\S+", max_features=60000)
    model = make_pipeline(features, LogisticRegression(C=10.0, max_iter=200))
    return model.fit([*originals, *copies], np.r_[np.ones(len(originals)), np.zeros(len(copies))])


def text_only_table(benchmark: BenchmarkSet, training: BenchmarkSet) -> pd.DataFrame:
    """How well text alone answers each test: an n-gram language model of training reports, and a TF-IDF classifier fitted on
    training reports and their copies by the same edits. Columns: test, family, n, chance, 'n-gram', 'TF-IDF' (NaN where training
    has no copy)."""
    language = NgramModel(" ".join(words) for words in training.originals)
    learning = {t.name: t for t in option_tests(training)}
    rows = []
    for test in option_tests(benchmark):
        flat = [" ".join(text) for row in test.options for text in row]
        shape = (len(test.rows), 1 + len(test.kinds))
        scores = {"n-gram": np.array([language.score(text) for text in flat]).reshape(shape)}
        if test.name in learning:
            lines = [[" ".join(text) for text in row] for row in learning[test.name].options]
            model = copy_classifier([row[0] for row in lines], [text for row in lines for text in row[1:]])
            scores["TF-IDF"] = model.decision_function(flat).reshape(shape)
        row = {"test": test.name, "family": test.family, "n": len(test.rows), "chance": test.chance}
        rows.append(row | {name: float(highest(torch.from_numpy(s)).mean()) for name, s in scores.items()})
    return pd.DataFrame(rows)
