"""The fusion probe: frozen encoders, negatives that are none by mistake, seeds, and twins asked of its logits."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from prdlib.data.batches import EvaluationData
from prdlib.evaluation import matching
from prdlib.evaluation.embeddings import embed_images, embed_reports, region_features
from prdlib.evaluation.matching import (
    NEGATIVES,
    MatchingProbe,
    fit_matching,
    matching_accuracy,
    matching_twins,
    word_states,
)
from prdlib.evaluation.twins import make_twins, outcomes_of_scores
from prdlib.models import build_model
from prdlib.text import exchange_sides, plain


@pytest.fixture(scope="module")
def train(tiny_data):
    return EvaluationData.first_views(tiny_data["train"])


def build(config, train, method="clip"):
    return build_model(config.for_method(method), 0, [" ".join(words) for words in train.words])[0].eval()


@pytest.fixture(scope="module", params=["clip", "grounded"])
def model(request, tiny_config, train):
    return build(tiny_config, train, request.param)


@torch.no_grad()
def test_word_states_are_those_of_each_report_by_itself(model, train):
    reports = [train.marked[i] for i in (0, 3, 0)]
    states, mask = word_states(model, reports)
    assert mask.sum(dim=1).tolist() == [len(plain(words)) for words in reports]
    torch.testing.assert_close(states[0], states[2])
    alone, _ = word_states(model, reports[1:2])
    torch.testing.assert_close(states[1, : alone.shape[1]], alone[0], rtol=1e-4, atol=1e-5)
    assert states.shape[-1] == model.text_encoder.config.hidden_size


def test_regions_are_the_map_row_by_row(model, train):
    regions = region_features(model, train.images[:3], batch_size=2)
    _, grid = model.image_features(model.prepare_images(torch.from_numpy(train.images[:3])))
    assert regions.shape == (3, grid.shape[2] * grid.shape[3], grid.shape[1])
    torch.testing.assert_close(regions[2, 1], grid[2, :, 0, 1], rtol=1e-4, atol=1e-5)


def test_the_head_learns_and_the_encoders_do_not(model, train):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state, lines = torch.get_rng_state(), []
    probe = fit_matching(model, train, epochs=4, batch_size=16, width=32, layers=1, report=lines.append)
    assert torch.equal(state, torch.get_rng_state())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert len(lines) == len(probe.history) == 4
    assert probe.history["loss"].iloc[-1] < probe.history["loss"].iloc[0]
    again = fit_matching(model, train, epochs=4, batch_size=16, width=32, layers=1)
    assert again.history.equals(probe.history)
    other = fit_matching(model, train, seed=1, epochs=1, batch_size=16, width=32, layers=1)
    assert not np.isclose(other.history["loss"][0], probe.history["loss"][0])


def test_no_negative_is_true(model, train):
    groups = np.arange(len(train.marked))
    groups[5] = groups[2]  # as if two studies said the same
    data = replace(train, groups=groups)
    chosen = np.array([2, 5, 7, 11])
    similarity = torch.zeros(len(groups), len(chosen))
    pairs = matching._pairs(data, chosen, similarity, NEGATIVES, 0, 0)
    positives = {(row, mirrored, plain(text)) for row, mirrored, text, match in pairs if match}
    assert len(positives) == 2 * len(chosen)
    negatives = [(row, mirrored, plain(text)) for row, mirrored, text, match in pairs if not match]
    assert negatives
    assert not positives & set(negatives)
    twins = {plain(train.marked[2]), plain(train.marked[5])}
    assert not [row for row, mirrored, text in negatives if row in (2, 5) and not mirrored and text in twins]
    sided = [row for row in chosen if exchange_sides(train.marked[row]) != train.marked[row]]
    assert sum(mirrored for _, mirrored, _ in negatives) == len(sided)


def test_only_the_negatives_that_were_asked_for(model, train):
    chosen, similarity = np.arange(6), torch.zeros(len(train.groups), 6)
    for name in NEGATIVES:
        pairs = matching._pairs(train, chosen, similarity, [name], 0, 0)
        copies = [plain(text) for row, _, text, match in pairs if not match]
        own = [plain(train.marked[row]) for row, _, _, match in pairs if not match]
        same_words = [sorted(a) == sorted(b) for a, b in zip(copies, own, strict=True)]
        others = [plain(train.marked[i]) for i in chosen]
        assert copies
        if name == "exchanged":
            assert all(same_words)
        if name == "in-batch":  # for each image a report of another study, and for each report an image of another
            assert len(copies) == 2 * len(chosen)
            assert all(copy in others and copy != mine for copy, mine in zip(copies, own, strict=True))
        if name == "clinical":
            assert not set(copies) & set(others)
        assert any(mirrored for _, mirrored, _, _ in pairs) == (name == "mirrored")


@pytest.mark.parametrize("negatives", [(), ("in batch",)])
def test_unknown_negatives_are_refused(model, train, negatives):
    with pytest.raises(ValueError, match="in-batch, exchanged, clinical, mirrored"):
        fit_matching(model, train, negatives=negatives)


class Seer(torch.nn.Module):
    """Scores a pair by its regions and the first number of each word's state: a head that any test can reckon."""

    def forward(self, words, mask, regions):
        return (words[..., 0] * mask).sum(dim=1) * regions.sum(dim=(1, 2))


def test_twins_are_asked_of_the_logits(model, train):
    twins = make_twins(train.study_ids, 32, 40)
    probe = MatchingProbe(model, Seer(), None)
    found = matching_twins(probe, twins, train.images[0])
    texts = [word_states(model, [tuple(twins.marked[words]) for words in pair]) for pair in twins.reports]
    blind = region_features(model, train.images[:1]).sum()
    for i, (states, mask) in enumerate(texts):
        regions = region_features(model, twins.images[i]).sum(dim=(1, 2))
        scores = regions[:, None] * (states[..., 0] * mask).sum(dim=1)[None]
        assert found["study"][i] == float(scores[0, 0] > scores[0, 1])
        assert found["twin"][i] == float(scores[1, 1] > scores[1, 0])
        first, second = blind * (states[..., 0] * mask).sum(dim=1)
        assert found["blind study"][i] == float(first > second)
    assert matching_twins(probe, make_twins([], 32)).empty


def test_scores_of_a_blind_model_are_half_right(model, train):
    twins = make_twins(train.study_ids, 32, 40)
    number = len(twins.study_ids)
    blind = torch.randn(number, 1, 2, generator=torch.Generator().manual_seed(0)).expand(-1, 2, -1)
    found = outcomes_of_scores(twins, blind)
    assert (found["exchange accuracy"] == 0.5).all()
    assert not found["text score"].any()
    assert outcomes_of_scores(twins, torch.zeros(number, 2, 2))["exchange accuracy"].eq(0).all()  # ties are wrong


def test_accuracy_is_asked_of_each_study_with_another_report(model, train):
    groups = np.arange(len(train.groups)) % 2 * 7  # two groups of reports: one other to choose for each
    pair = replace(
        train, **{name: getattr(train, name)[:2] for name in ("images", "tagged", "study_ids", "labels", "findings")},
        groups=groups[:2],
    )  # fmt: skip
    found = matching_accuracy(MatchingProbe(model, Seer(), None), pair)
    assert found["study_id"].tolist() == pair.study_ids
    states, mask = word_states(model, list(pair.marked))
    said = (states[..., 0] * mask).sum(dim=1)
    seen = region_features(model, pair.images).sum(dim=(1, 2))
    product = embed_images(model, pair.images) @ embed_reports(model, pair.marked).T
    for i, other in ((0, 1), (1, 0)):
        assert found["fusion head"][i] == float(seen[i] * said[i] > seen[i] * said[other])
        assert found["inner product"][i] == float(product[i, i] > product[i, other])
    same = replace(train, groups=np.zeros(len(train.groups), dtype=int))
    assert matching_accuracy(MatchingProbe(model, Seer(), None), same).empty
