"""What a report states: sentences, findings, places, polarity."""

import pytest

from prdlib.text import tag
from prdlib.text.statements import mentions, rules, sentences


def read(text):
    report = tag([text])[0]
    return report, mentions(report)


def words(report, places):
    return [report.words[i] for i in places]


def test_sentences_end_at_marks_but_not_inside_numbers():
    report, _ = read("1. A 3.5 cm nodule is seen; stable.\nHeart size is normal")
    assert [" ".join(report.words[s.start : s.stop]) for s in sentences(report)] == [
        "1", "a 3.5 cm nodule is seen", "stable", "heart size is normal"
    ]  # fmt: skip


def test_a_finding_with_its_attributes_before_and_behind_the_noun():
    report, found = read("There is a small left pleural effusion and a large nodule in the right upper lobe.")
    assert [m.finding.name for m in found] == ["pleural_effusion", "nodule"]
    assert [words(report, m.side) for m in found] == [["left"], ["right"]]
    assert [words(report, m.zone) for m in found] == [[], ["upper"]]
    assert [words(report, m.grade) for m in found] == [["small"], ["large"]]
    assert report.words[found[1].start : found[1].end] == ("large", "nodule", "in", "the", "right", "upper", "lobe")


@pytest.mark.parametrize(
    ("text", "polarity"),
    [
        ("There is a left effusion.", "affirmed"),
        ("No effusion.", "denied"),
        ("Lungs are clear without effusion.", "denied"),
        ("Neither edema nor effusion is seen.", "denied"),
        ("The effusion has resolved.", "denied"),
        ("No change in the effusion.", "affirmed"),
        ("No interval change of the effusion.", "affirmed"),
        ("No edema but a small effusion.", "affirmed"),
        ("There may be a small effusion.", "uncertain"),
        ("An effusion cannot be excluded.", "uncertain"),
        ("Consider CT if an effusion is suspected.", "hypothetical"),
    ],
)
def test_polarity(text, polarity):
    assert {m.polarity for m in read(text)[1] if m.finding.name == "pleural_effusion"} == {polarity}


def test_upper_abdomen_and_low_volumes_are_no_zones():
    report, found = read("Nodule with clips in the upper abdomen. Lower lung volumes with a nodule.")
    assert all(not m.zone for m in found), [words(report, m.zone) for m in found]


def test_two_sides_of_one_finding_are_both_seen():
    report, found = read("Opacities in the left and right mid lung zones.")
    assert words(report, found[0].side) == ["left", "right"]


def test_nothing_crosses_a_comma():
    report, found = read("Small, left effusion.")
    assert words(report, found[0].grade) == []


def test_every_word_of_the_rules_is_a_word():
    """YAML takes on, no, off and yes for booleans."""

    def leaves(value):
        if isinstance(value, dict):
            return [leaf for k, v in value.items() for leaf in (*leaves(k), *leaves(v))]
        return [leaf for v in value for leaf in leaves(v)] if isinstance(value, list) else [value]

    words = leaves({k: v for k, v in rules().raw.items() if k != "findings"})
    assert all(isinstance(word, str) for word in words), [w for w in words if not isinstance(w, str)]
    assert read("Pacemaker on the left.")[1][0].side


def test_a_grade_that_the_tagger_takes_for_a_verb_is_a_grade():
    report, found = read("Stable marked cardiomegaly.")
    assert words(report, found[0].grade) == ["marked"]
