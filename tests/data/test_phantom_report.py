"""The phantom's reports and sentence pairs: truthful spans, denials of what is absent, lengths, no label in the hypothesis."""

import re
from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from prdlib.data import DataError, phantom
from prdlib.data.phantom_findings import KINDS
from prdlib.data.phantom_phrases import CHANGES, DENIED_NOUNS, DEVICES, GRADES, NORMAL_IMPRESSIONS, NOUNS
from prdlib.text import normalise, tag


@pytest.fixture(scope="module")
def studies():
    return [phantom.study(21, i) for i in range(2500)]


def nouns(finding):
    options = DEVICES[finding.device] if finding.device else NOUNS[finding.name]
    return [name for name, _ in options]


def test_the_first_span_states_the_finding_with_its_attributes(studies):
    for s in studies:
        for finding, spans in zip(s.findings, s.written.spans, strict=True):
            first = s.report[slice(*spans[0])].lower()
            assert finding.side in first
            assert finding.zone in first
            assert not finding.grade_word or any(w in first for w in GRADES[finding.grade_word])


def test_every_span_names_its_finding(studies):
    for s in studies:
        for finding, spans in zip(s.findings, s.written.spans, strict=True):
            for start, end in spans:
                assert any(n in s.report[start:end].lower() for n in nouns(finding)), s.report
                assert s.report[end] in " .,;"


def test_findings_and_impression_in_two_to_eight_sentences(studies):
    for s in studies:
        sentences = re.split(r"(?<=\.) ", s.report)
        assert 2 <= len(sentences) <= 8
        assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in sentences)
        if not s.findings:
            assert sentences[-1] in NORMAL_IMPRESSIONS
        else:
            assert all(any(n in sentences[-1].lower() for n in nouns(f)) for f in s.findings)


def test_lengths_and_vocabulary(studies):
    tagged = [normalise(s.report).split() for s in studies]
    lengths = np.array([len(words) for words in tagged])
    assert len({w for words in tagged for w in words}) >= 200
    assert (lengths > 60).mean() < 0.02
    cut = [s for s, n in zip(studies, lengths, strict=True) if n > 60]
    for item in tag([s.report for s in cut], word_limit=60):
        spans = next(s.written.spans for s in cut if s.report == item.text)
        assert all(first[0][1] <= item.offsets[-1][1] for first in spans)


def test_every_class_is_often_affirmed_and_often_denied_and_never_both(studies):
    affirmed = Counter(f.name for s in studies for f in s.findings)
    denied = Counter(name for s in studies for name in s.written.denied)
    for name in KINDS:
        assert affirmed[name] > 0.12 * len(studies)
        assert denied[name] > 0.30 * len(studies)
    for s in studies:
        assert not {f.name for f in s.findings} & set(s.written.denied)
        for name in s.written.denied:
            assert name == "Cardiomegaly" or any(n in s.report.lower() for n in DENIED_NOUNS[name])


def test_uncertain_findings_sound_uncertain_and_certain_ones_do_not(studies):
    hedge = re.compile(r"\b(may|possible|excluded|suspected|suspicious for)\b")
    for s in studies:
        assert bool(hedge.search(s.report)) == any(not f.certain for f in s.findings), s.report


def test_no_wrong_articles_and_no_doubled_words(studies):
    for s in studies:
        assert not re.search(r"\b(\w+) \1\b", s.report, re.IGNORECASE), s.report
        assert not re.search(r"\ba [aeio]", s.report, re.IGNORECASE), s.report
        assert not re.search(r"\ban [^aeiou]", s.report, re.IGNORECASE), s.report


def test_only_follow_ups_compare_and_they_say_how(studies):
    change = {k: re.compile("|".join(re.escape(f).replace(r"\{n\}", ".+") for f in v)) for k, v in CHANGES.items()}
    for s in studies:
        said = {name for name, pattern in change.items() if pattern.search(s.report)}
        assert said == ({s.progression} - {""}), s.report
        if not s.progression:
            assert "again" not in s.report


def test_the_tagger_reads_places_as_adjectives_and_findings_as_nouns(studies):
    counts = Counter()
    for item in tag([s.report for s in studies[:150]], word_limit=60):
        counts.update(zip(item.words, item.tags, strict=True))
    for word, kind in {
        "left": "JJ",
        "upper": "JJ",
        "large": "JJ",
        "effusion": "NN",
        "nodule": "NN",
        "zone": "NN",
    }.items():
        tags = {t: n for (w, t), n in counts.items() if w == word}
        assert sum(n for t, n in tags.items() if t.startswith(kind)) > 0.95 * sum(tags.values()), (word, tags)


def test_pairs_have_radnlis_fields_and_do_not_depend_on_their_number():
    pairs = phantom.sentence_pairs(300, seed=4)
    assert list(pairs.columns) == ["pair_id", "sentence1", "sentence2", "gold_label"]
    assert set(pairs["gold_label"].value_counts()) == {100}
    assert pairs["pair_id"].is_unique
    assert phantom.sentence_pairs(12, seed=4).equals(pairs.head(12))
    assert not phantom.sentence_pairs(12, seed=5).equals(pairs.head(12))
    assert not pairs[["sentence1", "sentence2"]].apply(lambda c: c.str.contains("{", regex=False)).any().any()


def test_a_hypothesis_alone_does_not_give_its_label_away():
    pairs = phantom.sentence_pairs(2400, seed=1)
    features = CountVectorizer(ngram_range=(1, 2)).fit_transform(pairs["sentence2"])
    model = LogisticRegression(max_iter=500).fit(features[:1800], pairs["gold_label"][:1800])
    assert model.score(features[1800:], pairs["gold_label"][1800:]) < 0.45


def test_the_three_labels_mean_what_they_say():
    denial = re.compile(r"\b(no|not|neither|negative)\b", re.IGNORECASE)
    for row in phantom.sentence_pairs(600, seed=2).itertuples():
        first, second = (bool(denial.search(text)) for text in (row.sentence1, row.sentence2))
        named = [k for k in KINDS if _names(k, row.sentence1) and _names(k, row.sentence2)]
        if row.gold_label == "entailment":
            assert first == second
            assert named
        elif row.gold_label == "contradiction":
            assert named
            assert not (first and second)
        elif second:
            assert not named


def _names(kind, sentence):
    options = [n for n, _ in NOUNS[kind]]
    if kind == "Support Devices":
        options += [n for device in DEVICES.values() for n, _ in device]
    return any(n in sentence.lower() for n in options)


def test_pairs_refuse_a_bad_number():
    with pytest.raises(DataError, match="at least 1"):
        phantom.sentence_pairs(0)
