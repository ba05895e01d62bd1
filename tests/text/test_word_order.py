"""The nine perturbations: the exact rules of method.md, the same words, no silent no-op, no dependence on order."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prdlib.text import FAMILIES, ZERO_SHOT_KINDS, TaggedReport, draw_names, perturb, perturb_reports, tag

TAGS = ("NN", "NNS", "JJ", "VBZ", "DT", "IN", "RB")
WORD_ORDER = FAMILIES["word_order"]
SHUFFLES = [name for name in WORD_ORDER if name != "replace_adjectives_with_antonyms"]


def report(words, tags=None):
    words = tuple(words)
    return TaggedReport(" ".join(words), words, tuple(tags or ("NN",) * len(words)), (), (), len(words))


pairs = st.lists(
    st.tuples(st.sampled_from(["a", "b", "left", "small", "effusion", "is"]), st.sampled_from(TAGS)), max_size=15
)


@settings(max_examples=150)
@given(pairs, st.sampled_from(WORD_ORDER), st.integers(0, 10**6))
def test_same_words_and_a_no_op_only_when_it_says_so(items, name, seed):
    original = report([w for w, _ in items], [t for _, t in items])
    copy = perturb(original, name, np.random.default_rng(seed))
    assert copy.original == original.normalised
    assert copy.is_noop == (copy.text == original.normalised)
    assert len(copy.text.split()) == len(original.words)
    if name in SHUFFLES:
        assert Counter(copy.text.split()) == Counter(original.words)


@settings(max_examples=100)
@given(pairs, st.integers(0, 10**6))
def test_each_rule_moves_only_what_it_may(items, seed):
    words, tags = [w for w, _ in items], [t for _, t in items]
    original = report(words, tags)

    def moved(name):
        copy = perturb(original, name, np.random.default_rng(seed)).text.split()
        return [i for i, (a, b) in enumerate(zip(words, copy, strict=True)) if a != b], copy

    for name, allowed in (
        ("shuffle_nouns_and_adjectives", ("NN", "JJ")),
        ("shuffle_nouns_verbs_adjectives", ("NN", "JJ", "VB")),
        ("replace_adjectives_with_antonyms", ("JJ",)),
    ):
        assert all(tags[i].startswith(allowed) for i in moved(name)[0])
    assert not any(tags[i].startswith(("NN", "JJ")) for i in moved("shuffle_all_but_nouns_and_adjectives")[0])
    nouns = [i for i, t in enumerate(tags) if t.startswith("NN")]
    copy = moved("shuffle_nouns_and_adjectives")[1]
    assert Counter(copy[i] for i in nouns) == Counter(words[i] for i in nouns)
    inside = moved("shuffle_within_trigrams")[1]
    outside = moved("shuffle_trigrams")[1]
    triples = [words[i : i + 3] for i in range(0, len(words), 3)]
    assert [sorted(inside[i : i + 3]) for i in range(0, len(words), 3)] == [sorted(t) for t in triples]
    for triple in triples:
        assert any(outside[i : i + len(triple)] == triple for i in range(len(words)))


def test_the_fixed_ones_by_hand():
    original, rng = report("abcde"), np.random.default_rng(0)
    assert perturb(original, "swap_adjacent_words", rng).text == "b a d c e"
    assert perturb(original, "reverse_sentence", rng).text == "e d c b a"
    adjectives = report(["left", "small", "effusion", "left"], ["JJ", "JJ", "NN", "NN"])
    assert perturb(adjectives, "replace_adjectives_with_antonyms", rng).text == "right large effusion left"


@pytest.mark.parametrize("words", [[], ["one"], ["same", "same", "same", "same"]])
def test_what_cannot_change_is_a_no_op(words):
    assert all(perturb(report(words), name, np.random.default_rng(0)).is_noop for name in SHUFFLES)


def test_redraws_find_a_change_where_there_is_one():
    copies = [perturb(report(["a", "b"]), "shuffle_all_words", np.random.default_rng(seed)) for seed in range(200)]
    assert sum(copy.is_noop for copy in copies) <= 20  # one in 32 is expected after five draws


def test_copies_depend_on_seed_epoch_id_and_name_alone():
    tagged = tag(
        ["Small left effusion with mild edema.", "No acute disease of the chest today.", "Clear lungs, normal heart."]
    )
    names, ids = list(WORD_ORDER), ["x", "y", "z"]
    table = perturb_reports(tagged, names, 5, 2, ids)
    backwards = perturb_reports(tagged[::-1], names[::-1], 5, 2, ids[::-1])
    assert table == [row[::-1] for row in backwards[::-1]]
    assert perturb_reports(tagged[1:2], names[3:4], 5, 2, ids[1:2])[0][0] == table[1][3]
    assert perturb_reports(tagged, names, 5, 3, ids) != table
    assert perturb_reports(tagged, names, 6, 2, ids) != table


def test_drawn_kinds_are_distinct_and_cover_all():
    names = list(WORD_ORDER)
    draws = [draw_names(names, 3, 0, epoch, "s") for epoch in range(200)]
    assert all(len(set(d)) == 3 for d in draws)
    counts = Counter(n for d in draws for n in d)
    assert set(counts) == set(names)
    assert min(counts.values()) > 35  # 66.7 expected, standard deviation 6.7
    assert draw_names(names, 20, 0, 0, "s") == tuple(names)


def test_unknown_name_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'shuffle_trigrams'"):
        perturb(report("abc"), "shuffle_trigram", np.random.default_rng(0))


def test_the_zero_shot_kinds_are_the_papers_four():
    assert len(ZERO_SHOT_KINDS) == 4
    assert set(ZERO_SHOT_KINDS) <= set(WORD_ORDER)
