"""The phantom: deterministic, balanced, honest ground truth, twins with the same bag of words."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from prdlib.data import DataError, load_studies, phantom
from prdlib.data.phantom_findings import KINDS, SIDES, ZONES, Finding
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


def test_most_studies_have_two_findings_that_differ_in_an_attribute(studies):
    assert np.mean([s.twin() is not None for s in studies]) >= 0.60


@pytest.mark.parametrize("attribute", ["side", "zone", "grade"])
def test_attributes_are_balanced_within_every_class(studies, attribute):
    for name in KINDS:
        values = Counter(
            getattr(f, attribute) for s in studies if not s.progression for f in s.findings if f.name == name
        )
        values = {v: c for v, c in values.items() if v not in ("", -1)}
        if values:
            assert chisquare(list(values.values())).pvalue > 1e-4, (name, values)


def test_classes_are_equally_common(studies):
    counts = Counter(f.name for s in studies if not s.progression for f in s.findings)
    assert set(counts) == set(KINDS)
    assert chisquare(list(counts.values())).pvalue > 1e-3, counts


def test_the_report_alone_does_not_tell_a_study_from_its_twin(studies):
    """A classifier of words and word pairs, trained on other studies: were it right, a prior would give the edit away."""
    pairs = [(s.report, s.twin().report) for s in studies[:1200] if s.twin()]
    texts = [text for pair in pairs for text in pair]
    features = CountVectorizer(ngram_range=(1, 3), min_df=3).fit_transform(texts)
    truth = np.tile([1, 0], len(pairs))
    half = len(pairs) // 2 * 2
    model = LogisticRegression(C=0.1, max_iter=300).fit(features[:half], truth[:half])
    margin = model.decision_function(features[half:]).reshape(-1, 2)
    assert abs((margin[:, 0] > margin[:, 1]).mean() - 0.5) < 0.1


def test_labels_say_what_the_picture_shows(studies):
    for s in studies[:300]:
        assert {n for n, v in s.labels.items() if v} - {"Normal"} == {f.name for f in s.findings}
        assert s.labels["Normal"] == (not s.findings)
        for f in s.findings:
            assert s.labels[f.name] == (1 if f.certain else -1)


def test_stated_labels_leave_out_what_the_report_does_not_mention(studies):
    silent = 0
    for s in studies[:300]:
        for name, value in s.stated_labels.items():
            silent += np.isnan(value)
            assert np.isnan(value) == (name not in {"Normal", *s.written.denied, *(f.name for f in s.findings)})
    assert silent > 300


def test_a_twin_has_the_same_words_and_another_picture(studies):
    twins = [(s, s.twin()) for s in studies[:400] if s.twin()]
    assert Counter(t.exchanged for _, t in twins).keys() == {"side", "zone", "grade"}
    for s, twin in twins:
        assert Counter(normalise(s.report).split()) == Counter(normalise(twin.report).split())
        assert s.report != twin.report
    for s, twin in twins[:40]:
        assert np.abs(s.render(64).astype(int) - twin.render(64)).max() > 12


def test_a_finding_changes_the_film_inside_its_mask_whatever_else_is_there(studies):
    for s in studies[:150]:
        film = s.render(64).astype(float)
        for i, (finding, inside) in enumerate(zip(s.findings, s.masks(64), strict=True)):
            rest = s.findings[:i] + s.findings[i + 1 :]
            change = np.abs(film - replace(s, findings=rest).render(64))
            assert change[inside].mean() > 2 * change[~inside].mean(), (s.study_id, finding)
            assert change[inside].max() > 12, (s.study_id, finding)


def test_a_larger_grade_is_larger_on_the_film():
    for name, kind in KINDS.items():
        for zone in ZONES if kind.zoned else ("",):
            areas, changes = [], []
            for grade in range(len(kind.grades)):
                finding = Finding(name, "left" if kind.sided else "", zone, grade, "sharp" if kind.margin else "")
                item = phantom.PhantomStudy(1, 4, "someone", (finding,))
                areas.append(item.masks(96)[0].sum())
                changes.append(np.abs(item.render(96).astype(float) - replace(item, findings=()).render(96)).sum())
            assert changes == sorted(changes), (name, zone, changes)
            assert name == "Reticular Opacity" or areas == sorted(areas), (name, zone, areas)


def test_zones_are_above_each_other(studies):
    heights = {zone: [] for zone in ZONES}
    for s in studies[:400]:
        for item in s.truth(64):
            if item["zone"]:
                heights[item["zone"]].append((item["box"][1] + item["box"][3]) / 2)
    assert max(heights["upper"]) < min(heights["lower"])
    assert np.mean(heights["upper"]) + 0.1 < np.mean(heights["mid"]) < np.mean(heights["lower"]) - 0.1


def test_the_normal_film_reads_as_a_chest():
    """Dark lungs beside a bright midline, a dense abdomen, air outside the shoulders, the heart's apex on the right half."""
    films = np.mean([phantom.PhantomStudy(2, i, f"p{i}", ()).render(64) for i in range(40)], axis=0)
    right_lung, left_lung = films[18:30, 14:24].mean(), films[18:30, 40:50].mean()
    spine, belly, corner = films[18:30, 31:33].mean(), films[56:62, 12:28].mean(), films[0:3, 0:6].mean()
    assert max(right_lung, left_lung) + 60 < min(spine, belly)
    assert corner < 20
    assert films[36:42, 40:46].mean() > films[36:42, 18:24].mean() + 15


@pytest.mark.parametrize("size", [64, 96, 224])
def test_boxes_are_those_of_the_masks_at_the_films_size(studies, size):
    for s in studies[:60]:
        for item, mask in zip(s.truth(size), s.masks(size), strict=True):
            x0, y0, x1, y1 = (round(v * size) for v in item["box"])
            inside = mask[y0:y1, x0:x1]
            assert mask.sum() == inside.sum() > 0
            assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


@pytest.mark.parametrize(("attribute", "values"), [("side", SIDES), ("zone", ZONES), ("grade", (0, 1, 2))])
def test_no_prior_gives_another_side_zone_or_grade_away(studies, attribute, values):
    """One finding of a study gets another value and the report is written anew; a classifier of words and word pairs, trained on
    other studies, cannot tell which of the two reports is the study's."""
    rng, pairs = np.random.default_rng(0), []
    for s in studies:
        able = [i for i, f in enumerate(s.findings) if getattr(f, attribute) not in ("", -1)]
        if not able or s.progression:
            continue
        i, findings = int(rng.choice(able)), list(s.findings)
        others = [v for v in values if v != getattr(findings[i], attribute)]
        findings[i] = replace(findings[i], **{attribute: others[int(rng.integers(len(others)))]})
        pairs.append((s.report, replace(s, findings=tuple(findings)).report))
    features = CountVectorizer(ngram_range=(1, 2), min_df=3, binary=True).fit_transform(
        [t for pair in pairs for t in pair]
    )
    truth, half = np.tile([1, 0], len(pairs)), len(pairs) // 2 * 2
    model = LogisticRegression(C=0.3, max_iter=300).fit(features[:half], truth[:half])
    margin = model.decision_function(features[half:]).reshape(-1, 2)
    right = (margin[:, 0] > margin[:, 1]).mean() + 0.5 * (margin[:, 0] == margin[:, 1]).mean()
    assert abs(right - 0.5) < 3 * 0.5 / np.sqrt(len(margin)), (right, len(margin))


def test_left_is_on_the_right_of_the_image(studies):
    for s in studies[:400]:
        for item in s.truth(64):
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
        assert not np.array_equal(before.render(32), s.render(32))
        assert [f.name for f in before.findings] == [f.name for f in s.findings]
        change = sum(f.grade for f in s.findings) - sum(f.grade for f in before.findings)
        assert np.sign(change) == {"improved": -1, "stable": 0, "worsened": 1}[s.progression]


def test_table_is_valid_and_independent_of_n():
    small, large = phantom.load(n=20, size=32, seed=5), phantom.load(n=50, size=32, seed=5)
    assert small.table.drop(columns="findings").equals(large.table.head(20).drop(columns="findings"))
    assert small.read_image(small.table.iloc[0]).shape == (32, 32)


def test_cache_holds_the_films(tmp_path):
    studies = phantom.load(n=3, size=32, seed=5, cache=tmp_path)
    assert len(list(tmp_path.glob("*.png"))) == 3
    assert np.array_equal(studies.read_image(studies.table.iloc[2]), phantom.study(5, 2).render(32))


@pytest.mark.parametrize("options", [{"n": 0}, {"size": 8}, {"size": 5000}, {"seed": -1}, {"n": "5"}, {"size": 64.5}])
def test_bad_numbers_are_one_sentence(options):
    with pytest.raises(DataError, match=r"^The phantom needs whole numbers: .*\.$"):
        phantom.load(**{"n": 2, **options})


def test_one_study_is_a_table():
    table = phantom.load(n=1, size=32).table
    assert len(table) == 1
    assert phantom.render(phantom.study(0, 0), 32).shape == (32, 32)
    assert len(phantom.masks(phantom.study(0, 0), 32)) == len(table["findings"].iloc[0])
    json.dumps(table["findings"].iloc[0])


def test_the_table_comes_by_name_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    studies = load_studies("phantom", n=5, size=32, seed=1)
    assert list(studies.table["image"])[:2] == ["phantom://1/0", "phantom://1/1"]
    assert not list(tmp_path.iterdir())


@settings(max_examples=25)
@given(st.integers(0, 2**40), st.integers(0, 10**6))
def test_any_study_is_sound(seed, index):
    s = phantom.study(seed, index)
    assert s == phantom.study(seed, index)
    assert 0 <= len(s.findings) <= 3
    assert len({f.name for f in s.findings}) == len(s.findings)
    for item in s.truth(64):
        x0, y0, x1, y1 = item["box"]
        assert 0 <= x0 < x1 <= 1
        assert 0 <= y0 < y1 <= 1
    assert s.render(32).dtype == np.uint8
