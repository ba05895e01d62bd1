"""Marks, segments and what becomes of them in perturbed copies; where the parser finds them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prdlib.text import (
    PERTURBATIONS,
    exchange_sides,
    find_breaks,
    first_words,
    mark,
    normalise,
    perturb,
    plain,
    segment,
    tag,
)
from prdlib.text.segments import MARKS, SENTENCE, carry_breaks

REPORT = "There is a small left effusion with mild atelectasis. No pneumothorax or edema. The heart is large; lungs are clear."
WORDS = st.lists(st.sampled_from(["left", "right", "effusion", "nodule", "3.5", "no"]), min_size=1, max_size=20)

VOCABULARY = [
    "no",
    "left",
    "small",
    "normal",
    "effusion",
    "nodule",
    "heart",
    "lungs",
    "base",
    "is",
    "with",
    "without",
    "and",
    "or",
]
VOCABULARY += [
    "as",
    "well",
    "seen",
    "which",
    "may",
    "of",
    "the",
    "in",
    "other",
    "however",
    "Tip",
    "1.",
    "3.5",
    "cm",
    "5th",
]
VOCABULARY += ["x-ray", "and/or", "T-", "(", ")", ",", ";", ":", ".", "-", "/"]


@st.composite
def words_and_breaks(draw):
    words = draw(WORDS)
    return tuple(words), (
        SENTENCE,
        *draw(st.lists(st.integers(0, SENTENCE), min_size=len(words) - 1, max_size=len(words) - 1)),
    )


@given(words_and_breaks())
def test_marks_keep_the_words_and_are_lost_in_normalising(given_report):
    words, breaks = given_report
    marked = mark(words, breaks)
    assert plain(marked) == words
    assert normalise(" ".join(marked)).split() == list(words)
    for kind in ("sentence", "clause", "item", "phrase", "window"):
        parts = segment(marked, kind, 3)
        assert tuple(word for part in parts for word in part) == words
        assert all(parts)


@given(words_and_breaks())
def test_finer_kinds_divide_coarser_ones(given_report):
    marked = mark(*given_report)
    counts = [len(segment(marked, kind)) for kind in ("sentence", "clause", "item", "phrase")]
    assert counts == sorted(counts)
    assert counts[0] == 1 + sum(level == SENTENCE for level in given_report[1][1:])


def test_words_without_marks_are_one_segment_or_windows():
    assert segment(("small", "left", "effusion"), "clause") == [("small", "left", "effusion")]
    assert segment(("a", "b", "c", "d", "e"), "window", 2) == [("a", "b"), ("c", "d"), ("e",)]
    assert mark(("a", "b"), ()) == ("a", "b")


def test_breaks_for_another_number_of_words_are_an_error():
    with pytest.raises(ValueError, match="zip"):
        mark(("a", "b", "c"), (3, 0))


@given(words_and_breaks(), st.integers(1, 20))
def test_a_limit_counts_words_and_no_marks(given_report, limit):
    words, breaks = given_report
    cut = first_words(mark(words, breaks), limit)
    assert plain(cut) == words[:limit]


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([0, 1, 2, 3, 4], (3, 0, 2, 0, 3)),
        ([2, 3, 4], (2, 0, 3)),  # the first clause is left out: its break is lost, the highest that stood there stays
        ([0, 1, "new", 4], (3, 0, 3, 0)),  # what takes the place of words takes their break
        ([0, "new", 1, 2, 3, 4], (3, 0, 0, 2, 0, 3)),
        ([4, 2, 3, 0, 1], (3, 2, 0, 3, 0)),  # sentences in another order
    ],
)
def test_breaks_of_a_copy_whose_words_move(operations, expected):
    assert carry_breaks((3, 0, 2, 0, 3), operations, in_place=False)[1:] == expected[1:]


def test_breaks_stay_where_words_change_places():
    assert carry_breaks((3, 0, 2, 0), [3, 2, 1, 0], in_place=True) == (3, 0, 2, 0)
    assert carry_breaks((), [1, 0], in_place=True) == ()


@pytest.mark.parametrize("name", list(PERTURBATIONS))
def test_every_copy_has_a_break_for_each_of_its_words(name):
    [report] = find_breaks(tag([REPORT]))
    copy = perturb(report, name, np.random.default_rng(0))
    assert len(copy.breaks) == len(copy.text.split())
    assert plain(copy.marked) == tuple(copy.text.split())
    if PERTURBATIONS[name].family == "word_order":
        assert copy.breaks == report.breaks


def clauses(text: str, kind: str = "clause") -> list[str]:
    [report] = find_breaks(tag([text]))
    return [" ".join(words) for words in segment(report.marked, kind)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mild cardiomegaly with a small left effusion.", ["mild cardiomegaly", "with a small left effusion"]),
        ("There is a nodule in the right upper lobe and a small left effusion.",
         ["there is a nodule in the right upper lobe", "and a small left effusion"]),
        ("The lungs are clear without focal consolidation or effusion.",
         ["the lungs are clear", "without focal consolidation or effusion"]),
        ("No pleural effusion, pneumothorax, or focal consolidation.",
         ["no pleural effusion pneumothorax or focal consolidation"]),
        ("Heart size and mediastinal contours are normal.", ["heart size and mediastinal contours are normal"]),
        ("Left effusion and atelectasis.", ["left effusion and atelectasis"]),
        ("Opacity in the left base consistent with pneumonia.", ["opacity in the left base consistent with pneumonia"]),
        ("1. Stable cardiomegaly.\n2. No effusion.", ["1 stable cardiomegaly", "2 no effusion"]),
        ("Moderate edema; small effusions.", ["moderate edema", "small effusions"]),
        # What a verb needs stays with it.
        ("The bones of the chest are without a fracture.", ["the bones of the chest are without a fracture"]),
        ("Opacity in the left base, may be pneumonia.", ["opacity in the left base may be pneumonia"]),
        ("Coarse markings, which may represent fibrosis.", ["coarse markings which may represent fibrosis"]),
        ("The left base is obscured by a small effusion.", ["the left base is obscured by a small effusion"]),
        ("Views of the chest with monitor leads show a nodule.", ["views of the chest with monitor leads show a nodule"]),
        ("The heart, the aorta and both hila are normal.", ["the heart the aorta and both hila are normal"]),
        ("The lungs and pleural spaces show no acute abnormality.",
         ["the lungs and pleural spaces show no acute abnormality"]),
        # What explains or belongs to another stays with it.
        ("Small hilum, compatible with an absent artery.", ["small hilum compatible with an absent artery"]),
        ("Lucency suggesting bullous disease and emphysema.", ["lucency suggesting bullous disease and emphysema"]),
        ("Pattern including fibrosis, interstitial edema, scarring.",
         ["pattern including fibrosis interstitial edema scarring"]),
        ("Vague density, possibly a nodule.", ["vague density possibly a nodule"]),
        ("Left catheter with tip in the right atrium.", ["left catheter with tip in the right atrium"]),
        ("Density in the right abdomen, measuring 4 cm.", ["density in the right abdomen measuring 4 cm"]),
        ("Interval resolution of effusion and edema.", ["interval resolution of effusion and edema"]),
        # No break inside a noun phrase or a list of places.
        ("Bibasilar and left perihilar airspace opacities.", ["bibasilar and left perihilar airspace opacities"]),
        ("Overlap of bony and vascular structures.", ["overlap of bony and vascular structures"]),
        ("Fracture of the left 5th rib and the left 6th rib.", ["fracture of the left 5th rib and the left 6th rib"]),
        ("An age-indeterminate, mild wedge deformity.", ["an age indeterminate mild wedge deformity"]),
        ("Old fracture, left clavicle.", ["old fracture left clavicle"]),
        ("Ectasia and calcification of the aorta.", ["ectasia and calcification of the aorta"]),
        ("The heart is normal in size and contour.", ["the heart is normal in size and contour"]),
        ("Heart: normal size.", ["heart normal size"]),
        # Adjectives that both share, and lists with 'or'.
        ("Stable cardiac contour, mediastinal contour and hila.", ["stable cardiac contour mediastinal contour and hila"]),
        ("Atelectasis, scarring or pneumonia.", ["atelectasis scarring or pneumonia"]),
        # Statements of their own.
        ("No effusion, heart size is normal.", ["no effusion", "heart size is normal"]),
        ("The heart size is normal and the aorta is tortuous.", ["the heart size is normal", "and the aorta is tortuous"]),
        ("Heart size within normal limits, mild aortic tortuosity.",
         ["heart size within normal limits", "mild aortic tortuosity"]),
        ("Mild flattening of the diaphragms and expansion of the retrosternal space.",
         ["mild flattening of the diaphragms", "and expansion of the retrosternal space"]),
        ("Hyperinflated lungs with increased markings.", ["hyperinflated lungs", "with increased markings"]),
        ("Lucency of the left lung, compensatory hyperinflation.",
         ["lucency of the left lung", "compensatory hyperinflation"]),
        ("The lungs are clear without an area of consolidation.",
         ["the lungs are clear", "without an area of consolidation"]),
        ("Emphysema, however no acute finding.", ["emphysema", "however no acute finding"]),
        ("Left effusion and atelectasis in the right base.", ["left effusion", "and atelectasis in the right base"]),
        ("Bilateral effusions, left greater than right, and mild edema.",
         ["bilateral effusions left greater than right", "and mild edema"]),
    ],
)  # fmt: skip
def test_where_clauses_begin(text, expected):
    assert clauses(text) == expected


def test_lists_of_what_is_denied_are_split_on_demand():
    text = "No pleural effusion, pneumothorax, or focal consolidation."
    assert clauses(text) == ["no pleural effusion pneumothorax or focal consolidation"]
    assert (
        clauses(text, "item")
        == clauses(text, "phrase")
        == ["no pleural effusion", "pneumothorax", "or focal consolidation"]
    )

    # only what stands beside the denial keeps it, and the side that both shared goes with it
    assert clauses("No left effusion or atelectasis.", "item") == ["no left effusion", "or atelectasis"]
    shared = "Stable heart size and mediastinal contours."
    assert clauses(shared, "item") == clauses(shared)  # what is not denied stays together


@given(st.lists(st.sampled_from(VOCABULARY), max_size=14))
@settings(max_examples=150)
def test_any_text_has_a_break_for_each_word(pieces):
    [report] = find_breaks(tag([" ".join(pieces)]))
    assert len(report.breaks) == len(report.words)
    assert report.breaks[:1] in ((), (SENTENCE,))
    assert set(report.breaks) <= {0, *MARKS}


def test_breaks_end_at_the_word_limit():
    [report] = find_breaks(tag([REPORT], word_limit=9))
    assert len(report.breaks) == len(report.words) == 9
    assert report.breaks[0] == SENTENCE


def test_an_empty_report_has_no_breaks():
    assert [r.breaks for r in find_breaks(tag(["", "No effusion."]))] == [(), (SENTENCE, 0)]


def test_marks_are_no_words():
    assert not any(normalise(sign) for sign in MARKS.values())


def test_a_whole_report_is_one_segment():
    assert segment(("a", ".", "b", ";", "c"), "report") == [("a", "b", "c")]


def test_sides_are_exchanged_and_nothing_else():
    words = ("left", "effusion", ".", "levoscoliosis", "rightward", "leftover")
    other = ("right", "effusion", ".", "dextroscoliosis", "leftward", "leftover")
    assert exchange_sides(words) == other
    assert exchange_sides(other) == words
