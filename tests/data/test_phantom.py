"""The phantom: deterministic, balanced, honest ground truth, twins with the same bag of words."""

from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from prdlib.data import DataError, phantom
from prdlib.data.phantom_findings import KINDS
from prdlib.text import normalise


@pytest.fixture(scope="module")
def studies():
    return [phantom.study(11, i) for i in range(3000)]


def test_a_study_depends_on_seed_and_index_alone(studies):
    again = phantom.study(11, 17)
    assert again == studies[17]
    assert again.report == studies[17].report
    assert np.array_equal(again.render(64), studies[17].render(64))
    assert phantom.study(12, 17).report != again.report


@pytest.mark.parametrize("size", [32, 96, 200])
def test_films_have_any_size_and_use_the_grey_range(studies, size):
    film = studies[0].render(size)
    assert (film.shape, film.dtype) == ((size, size), np.uint8)
    assert film.max() - film.min() > 150


def test_numbers_of_findings(studies):
    counts = Counter(len(s.findings) for s in studies)
    assert 0.15 <= counts[0] / len(studies) <= 0.25
    assert (counts[2] + counts[3]) / len(studies) >= 0.60


def test_two_findings_always_differ_in_an_attribute(studies):
    for s in studies:
        if len(s.findings) > 1 and not s.progression:
            assert s.twin() is not None


@pytest.mark.parametrize("attribute", ["side", "zone", "grade"])
def test_attributes_are_balanced_within_every_class(studies, attribute):
    for name in KINDS:
        values = Counter(
            getattr(f, attribute) for s in studies if not s.progression for f in s.findings if f.name == name
        )
        values = {v: c for v, c in values.items() if v not in ("", -1)}
        if values:
            assert chisquare(list(values.values())).pvalue > 1e-4, (name, values)


def test_classes_are_about_equally_common(studies):
    counts = Counter(f.name for s in studies for f in s.findings)
    assert set(counts) == set(KINDS)
    assert max(counts.values()) < 1.5 * min(counts.values())


def test_labels_say_what_the_picture_shows(studies):
    for s in studies[:300]:
        assert {n for n, v in s.labels.items() if v} - {"Normal"} == {f.name for f in s.findings}
        assert s.labels["Normal"] == (not s.findings)


def test_spans_are_the_words_of_the_finding(studies):
    for s in studies[:500]:
        for finding, spans in zip(s.findings, s.written.spans, strict=True):
            assert spans
            for start, end in spans:
                words = s.report[start:end].lower()
                assert finding.side in words
                assert finding.zone in words
                assert finding.grade_word in words


def test_a_twin_has_the_same_words_and_another_picture(studies):
    twins = [(s, s.twin()) for s in studies[:400] if s.twin()]
    assert Counter(t.exchanged for _, t in twins).keys() == {"side", "zone", "grade"}
    for s, twin in twins:
        assert Counter(normalise(s.report).split()) == Counter(normalise(twin.report).split())
        assert s.report != twin.report
    for s, twin in twins[:40]:
        assert np.abs(s.render(64).astype(int) - twin.render(64)).max() > 12


def test_a_finding_changes_the_film_inside_its_mask(studies):
    from dataclasses import replace

    for s in studies[:150]:
        if len(s.findings) == 1 and s.findings[0].certain:
            with_it = s.render(96).astype(float)
            without = replace(s, findings=()).render(96).astype(float)
            inside = s.masks(96)[0]
            change = np.abs(with_it - without)
            assert change[inside].mean() > 3 * change[~inside].mean()


def test_boxes_hold_the_masks(studies):
    for s in studies[:60]:
        for item, mask in zip(s.truth(), s.masks(64), strict=True):
            x0, y0, x1, y1 = (round(v * 64) for v in item["box"])
            assert mask.sum() == mask[y0:y1, x0:x1].sum() > 0


def test_left_is_on_the_right_of_the_image(studies):
    for s in studies[:400]:
        for item in s.truth():
            if item["side"] and item["name"] != "Support Devices":
                centre = (item["box"][0] + item["box"][2]) / 2
                assert (centre > 0.5) == (item["side"] == "left")


def test_follow_ups_are_the_same_patient_with_a_report_that_compares(studies):
    later = [s for s in studies if s.progression]
    assert 0.10 <= len(later) / len(studies) <= 0.20
    assert set(Counter(s.progression for s in later)) == {"improved", "stable", "worsened"}
    for s in later[:100]:
        before = phantom.study(11, s.index - 1)
        assert before.patient_id == s.patient_id
        change = sum(f.grade for f in s.findings) - sum(f.grade for f in before.findings)
        assert np.sign(change) == {"improved": -1, "stable": 0, "worsened": 1}[s.progression]


def test_reports_are_short_varied_and_both_affirm_and_deny(studies):
    words = [normalise(s.report).split() for s in studies]
    lengths = np.array([len(w) for w in words])
    assert len({w for report in words for w in report}) >= 150
    assert (lengths > 60).mean() < 0.02
    assert {s.report.count(".") for s in studies} <= set(range(2, 9))
    denied = Counter(
        n for s in studies for n in ("effusion", "pneumothorax", "atelectasis") if f"no {n}" in s.report.lower()
    )
    assert min(denied.values()) > 30


def test_table_is_valid_and_independent_of_n():
    small, large = phantom.load(n=20, size=32, seed=5), phantom.load(n=50, size=32, seed=5)
    assert small.table.drop(columns="findings").equals(large.table.head(20).drop(columns="findings"))
    assert small.read_image(small.table.iloc[0]).shape == (32, 32)


def test_cache_holds_the_films(tmp_path):
    studies = phantom.load(n=3, size=32, seed=5, cache=tmp_path)
    assert len(list(tmp_path.glob("*.png"))) == 3
    assert np.array_equal(studies.read_image(studies.table.iloc[2]), phantom.study(5, 2).render(32))


@pytest.mark.parametrize("options", [{"n": 0}, {"size": 8}, {"seed": -1}])
def test_bad_numbers_are_one_sentence(options):
    with pytest.raises(DataError):
        phantom.load(**{"n": 2, **options})


def test_sentence_pairs_are_balanced_and_in_radnlis_fields():
    pairs = phantom.sentence_pairs(300)
    assert list(pairs.columns) == ["pair_id", "sentence1", "sentence2", "gold_label"]
    assert set(pairs["gold_label"].value_counts()) == {100}
    entailed = pairs[pairs["gold_label"] == "entailment"]
    assert not entailed["sentence2"].str.contains(r"\bno\b").any()
