"""Discriminators without an image: the language model is a probability, the classifier learns what copies give away."""

import itertools

import pytest

from prdlib.evaluation.text_only import END, NgramModel, copy_classifier

REPORTS = ["the heart is normal", "the lungs are clear", "the heart is large", "no effusion is seen"] * 5


@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_of_all_words_sum_to_one(order):
    model = NgramModel(REPORTS, order)
    words = [*{w for r in REPORTS for w in r.split()}, END]
    for context in itertools.product(["the", "heart", "never"], repeat=order - 1):
        known = sum(model._probability((*context, w)) for w in words)
        unknown = model._probability((*context, "unheard"))
        assert known + unknown == pytest.approx(1)
        assert unknown > 0


def test_order_of_words_matters_to_it_and_unknown_words_are_allowed():
    model = NgramModel(REPORTS)
    assert model.score("the heart is normal") > model.score("normal is heart the")
    assert model.score("zebra zebra") < model.score("the heart is large")


def test_a_classifier_finds_a_word_that_only_copies_have():
    model = copy_classifier(REPORTS, [r + " again" for r in REPORTS])
    assert (
        model.decision_function(["the lungs are clear"]) > model.decision_function(["the lungs are clear again"])
    ).all()


def test_nothing_to_learn_from_is_said():
    with pytest.raises(ValueError, match="needs training reports"):
        NgramModel([])
    with pytest.raises(ValueError, match="one of them is empty"):
        copy_classifier([], ["x"])
