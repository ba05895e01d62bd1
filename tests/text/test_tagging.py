"""Normalisation and tags: offsets point into the text as given, nothing crashes, context decides tags."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prdlib.text import normalise, tag
from prdlib.text.tagging import lexicon, split_words

REPORT = "Small left-sided pleural effusion; a 3.5 cm x-ray mass.  NO pneumothorax!"


def test_words_are_lower_case_without_punctuation():
    assert normalise(REPORT) == "small left sided pleural effusion a 3.5 cm x ray mass no pneumothorax"


def test_word_limit_cuts_whole_words():
    assert normalise(REPORT, 3) == "small left sided"


def test_offsets_and_punctuation_point_into_the_text():
    report = tag([REPORT], word_limit=6)[0]
    assert [REPORT[a:b].lower() for a, b in report.offsets] == list(report.words)
    assert {REPORT[a:b] for a, b in report.punctuation} == {"-", ";", ".", "!"}
    assert (len(report.words), report.n_words) == (6, 13)
    assert report.normalised == normalise(REPORT, 6)


def test_clinical_words_have_the_tags_of_the_lexicon():
    report = tag(["Left upper opacity is noted."])[0]
    assert report.tags[:3] == ("JJ", "JJ", "NN")
    assert report.tags[4].startswith("VB")


def test_an_empty_report_has_no_words():
    assert tag(["", " .. "])[0].words == ()


def test_missing_reports_are_an_error_that_names_the_row():
    with pytest.raises(TypeError, match="Report 1 is float"):
        tag(["fine", float("nan")])


@settings(max_examples=200)
@given(st.text(max_size=60))
def test_normalising_any_text_is_stable_and_never_crashes(text):
    once = normalise(text)
    assert normalise(once) == once
    words, offsets, punctuation = split_words(text)
    spans = sorted([*offsets, *punctuation])
    assert all(a < b <= len(text) for a, b in spans)
    assert all(left[1] <= right[0] for left, right in pairwise(spans))
    assert len(words) == len(offsets)


def test_equal_reports_get_equal_tags_whatever_stands_beside_them():
    alone, *_ = tag(["Mild cardiomegaly."])
    assert tag(["No effusion.", "Mild cardiomegaly.", "Mild cardiomegaly."])[1:] == [alone, alone]


def test_an_antonym_has_an_antonym_and_is_another_word():
    antonyms = lexicon()["antonyms"]
    assert all(other in antonyms for other in antonyms.values())
    assert all(word != other for word, other in antonyms.items())
    assert antonyms["left"] == "right"
