"""The phantom's reports and sentence pairs: truthful spans, denials of what is absent, lengths, no label in the hypothesis."""

import re
from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from prdlib.data import DataError, phantom
from prdlib.data.phantom_findings import KINDS
from prdlib.data.phantom_pairs import LABELS, SQUARE
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


@pytest.mark.parametrize("sentence", ["sentence1", "sentence2"])
def test_one_sentence_alone_does_not_give_the_label_away(sentence):
    pairs = phantom.sentence_pairs(2700, seed=1)

    def accuracy(texts):
        features = CountVectorizer(ngram_range=(1, 2)).fit_transform(texts)
        model = LogisticRegression(max_iter=500).fit(features[:1800], pairs["gold_label"][:1800])
        return model.score(features[1800:], pairs["gold_label"][1800:])

    assert accuracy(pairs[sentence]) == pytest.approx(1 / 3)
    assert accuracy(pairs[sentence] + " " + pairs["gold_label"]) > 0.99  # the classifier reads what can be read


def test_pairs_are_latin_squares():
    pairs = phantom.sentence_pairs(900, seed=3)
    for _, square in pairs.groupby(np.arange(len(pairs)) // SQUARE):
        for sentence in ("sentence1", "sentence2"):
            assert square[sentence].nunique() == 3
            assert set(square.groupby(sentence)["gold_label"].apply(sorted).str.join(" ")) == {" ".join(sorted(LABELS))}


CLASSES = {
    "Pleural Effusion": "effusion|pleural fluid", "Consolidation": "consolidation|airspace opacity|infiltrate",
    "Lung Lesion": "nodul", "Pneumothorax": "pneumothorax", "Atelectasis": "atelectasis", "Edema": "edema",
    "Cardiomegaly": "cardiomegaly|cardiac|of the heart", "Reticular Opacity": "reticul",
    "Support Devices": "central line|venous|pacemaker|device",
}  # fmt: skip
DETAILS = (("left", "right"), ("upper", "mid", "lower"), ("small", "large", "mild", "moderate", "severe"))
JOINTS = re.compile(r", and |, with |, there is | and | together with | accompanied by |(?<=\.) ")
DENIAL = re.compile(r"\b(no|not|neither|negative)\b", re.IGNORECASE)


def _statements(text):
    """Class -> None where it is denied, else the details that are said of it (side, zone, grade; '' for none)."""
    found = {}
    for sentence in re.split(r"(?<=\.) ", text):
        for clause in [sentence] if DENIAL.search(sentence) else JOINTS.split(sentence):
            words = set(re.findall(r"\w+", clause.lower()))
            for name, pattern in CLASSES.items():
                if re.search(pattern, clause, re.IGNORECASE):
                    assert name not in found, text
                    details = [next((w for w in group if w in words), "") for group in DETAILS]
                    found[name] = None if DENIAL.search(sentence) else details
    return found


def _label(premise, hypothesis):
    """What follows from the words alone, for films with one finding of a class at most."""
    [(name, said)] = _statements(hypothesis).items()
    known = _statements(premise)
    if name not in known:
        return "neutral"
    if (said is None) != (known[name] is None):
        return "contradiction"
    if said is None:
        return "entailment"
    asked = [(a, b) for a, b in zip(said, known[name], strict=True) if a]
    if any(b and a != b for a, b in asked):
        return "contradiction"
    return "entailment" if all(a == b for a, b in asked) else "neutral"


def test_labels_follow_from_the_words():
    pairs = phantom.sentence_pairs(2700, seed=2)
    read = [_label(row.sentence1, row.sentence2) for row in pairs.itertuples()]
    wrong = pairs[pairs["gold_label"] != read]
    assert wrong.empty, wrong.head().to_string()


def test_pairs_deny_name_without_detail_and_change_details():
    """Every way to make a label occurs: what is neutral is not always unnamed, what contradicts not always denied."""
    ways = Counter()
    for row in phantom.sentence_pairs(900, seed=5).itertuples():
        [(name, said)] = _statements(row.sentence2).items()
        known = _statements(row.sentence1)
        ways[row.gold_label, said is None, name in known and known[name] is not None] += 1
    assert set(ways) == {
        ("entailment", True, False), ("entailment", False, True), ("neutral", True, False), ("neutral", False, False),
        ("neutral", False, True), ("contradiction", True, True), ("contradiction", False, True),
        ("contradiction", False, False),
    }  # fmt: skip
    assert min(ways.values()) > 30


def test_pairs_refuse_a_bad_number():
    with pytest.raises(DataError, match="at least 1"):
        phantom.sentence_pairs(0)
