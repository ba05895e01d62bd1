"""Natural-language inference: what is read from pairs, thresholds, metrics and intervals, controls, seeds."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

from prdlib.data import DataError
from prdlib.data.nli import SentencePairs, load_phantom_pairs
from prdlib.data.phantom_pairs import LABELS
from prdlib.data.studies import empty_drops
from prdlib.evaluation import nli
from prdlib.evaluation.nli import (
    AUROC,
    CONTRADICTION,
    ENTAILMENT,
    NEUTRAL,
    NLI_COLUMNS,
    by_thresholds,
    choose_thresholds,
    fine_tuned_nli,
    label_metrics,
    label_rows,
    majority_nli,
    mean_premise,
    similarities,
    zero_shot_nli,
)
from prdlib.evaluation.nli_fine_tuning import FINE_TUNING, PairClassifier, fine_tune, marked_pairs, marked_sentences
from prdlib.evaluation.statistics import auroc
from prdlib.models import build_model
from prdlib.trainer import NonFiniteLoss

NOUNS = ("pneumothorax", "pulmonary edema", "cardiomegaly")
FRAMES = {
    "train": ["There is {}.", "{} is seen.", "{} is present.", "Note is made of {}."],
    "validation": ["{} is noted.", "The film demonstrates {}."],
    "test": ["The radiograph shows {}.", "{} is identified.", "{} is evident."],
}
ENDINGS = ("There is {}.", "{} is seen.", "{} is evident.")
QUICK = replace(FINE_TUNING, epochs=12, batch_size=16, learning_rate=5e-3, encoder_learning_rate_factor=1.0,
                precision="float32")  # fmt: skip


def planted(leak=False):
    """Which noun follows which, on a circle, is the label: only the pair tells. leak: a word of the hypothesis tells it too."""
    rows = []
    for split, frames in FRAMES.items():
        for frame in frames:
            for ending in ENDINGS:
                for i, first in enumerate(NOUNS):
                    for j, second in enumerate(NOUNS):
                        label = LABELS[(j - i) % 3]
                        word = (
                            {"entailment": " left", "neutral": " right", "contradiction": " no"}[label] if leak else ""
                        )
                        premise = frame.format(first)
                        rows.append((str(len(rows)), premise, ending.format(second) + word, label, split, premise))
    table = pd.DataFrame(rows, columns=["pair_id", "premise", "hypothesis", "label", "split", "group"])
    return SentencePairs(table, empty_drops(), "planted")


def with_labels(pairs, labels, split=None):
    """The pairs with other labels, in one split or all."""
    table = pairs.table.copy()
    rows = table["split"] == split if split else np.ones(len(table), dtype=bool)
    table.loc[rows, "label"] = labels
    return replace(pairs, table=table)


def built(config, data, method, seed=0):
    reports = sorted({" ".join(words) for words in data["train"]["words"]})
    return build_model(config.for_method(method), seed, reports)[0].eval()


@pytest.fixture(scope="module", params=["clip", "grounded"])
def any_model(request, tiny_config, tiny_data):
    """One that reads whole reports, and one that reads segments."""
    return built(tiny_config, tiny_data, request.param)


@pytest.fixture(scope="module")
def model(tiny_config, tiny_data):
    return built(tiny_config, tiny_data, "clip")


@pytest.fixture(scope="module")
def phantom_pairs():
    return load_phantom_pairs(60, seed=4)


@pytest.fixture(scope="module")
def quick_table(model):
    return fine_tuned_nli({("tiny", 0): model, ("tiny", 1): model}, planted(), QUICK, resamples=200)


def row_of(table, task, label="accuracy"):
    [row] = table[(table["task"] == task) & (table["label"] == label)].to_dict("records")
    return row


# -- fine-tuning ---------------------------------------------------------------------------------------------------------


def test_a_label_that_the_pair_tells_is_learnt_and_the_hypothesis_alone_does_not_tell_it(quick_table):
    told = row_of(quick_table, "fine-tuned")
    assert told["value"] > 0.9
    assert told["ci_low"] > 0.6
    assert told["control"] == pytest.approx(1 / 3)
    assert row_of(quick_table, "fine-tuned, hypothesis only")["value"] == told["control"]
    assert row_of(quick_table, "fine-tuned", "macro F1")["value"] > 0.9


def test_the_table_is_tidy(quick_table):
    assert list(quick_table.columns) == NLI_COLUMNS
    assert set(quick_table["task"]) == {"fine-tuned", "fine-tuned, hypothesis only", "majority class"}
    assert set(quick_table["label"]) == {"accuracy", "macro F1"}
    learnt = quick_table[quick_table["series"] == "tiny"]
    assert set(learnt["seeds"]) == {2}
    assert set(learnt["n"]) == {81}
    assert (quick_table["chance"] == 1 / 3).all()
    assert (quick_table["ci_low"] <= quick_table["value"]).all()
    assert (quick_table["value"] <= quick_table["ci_high"]).all()
    assert quick_table["control"].notna().tolist() == (quick_table["task"] == "fine-tuned").tolist()


def test_shuffled_labels_are_not_learnt(model):
    pairs = planted()
    labels = np.random.default_rng(0).permutation(pairs.table["label"])
    table = fine_tuned_nli(
        {("tiny", s): model for s in (0, 1)}, with_labels(pairs, labels), replace(QUICK, epochs=4), 200
    )
    row = row_of(table, "fine-tuned")
    assert row["ci_low"] < 1 / 3 < row["ci_high"]


def test_the_hypothesis_only_control_finds_a_hypothesis_that_gives_the_label_away(model):
    pairs = planted(leak=True)
    classifier = fine_tune(model, pairs, 0, "hypothesis", QUICK).classifier
    test = pairs.split("test")
    premises, hypotheses = marked_pairs(model, test)
    predicted = classifier.predict(premises, hypotheses)
    assert (np.array(LABELS)[predicted] == test["label"]).mean() > 0.9
    assert (classifier.predict(premises[::-1], hypotheses) == predicted).all()


def test_a_seed_decides_and_neither_model_nor_generators_are_touched(any_model):
    pairs, settings = planted(), replace(QUICK, epochs=2)
    any_model.train()
    before = {name: value.clone() for name, value in any_model.state_dict().items()}
    state, lines = torch.get_rng_state(), []
    first = fine_tune(any_model, pairs, 0, settings=settings, report=lines.append)
    assert torch.equal(state, torch.get_rng_state())
    assert any_model.training
    assert all(torch.equal(value, before[name]) for name, value in any_model.state_dict().items())
    torch.manual_seed(99)
    again, other = (fine_tune(any_model, pairs, seed, settings=settings) for seed in (0, 1))
    assert again.history.equals(first.history)
    assert len(lines) == len(first.history) == 2
    for name, value in first.classifier.state_dict().items():
        assert torch.equal(value, again.classifier.state_dict()[name]), name
    assert not other.history["loss"].equals(first.history["loss"])
    any_model.eval()


def test_every_epoch_reads_every_pair_once_in_an_order_of_seed_and_epoch(model, monkeypatch):
    read, forward = [], PairClassifier.forward

    def spy(self, premises, hypotheses):
        if self.training:
            read.extend(zip(premises, hypotheses, strict=True))
        return forward(self, premises, hypotheses)

    monkeypatch.setattr(PairClassifier, "forward", spy)
    pairs = planted()
    for seed in (0, 1):
        fine_tune(model, pairs, seed, settings=replace(QUICK, epochs=2, batch_size=25))
    number = len(pairs.split("train"))
    epochs = [tuple(read[i : i + number]) for i in range(0, len(read), number)]
    assert [sorted(epoch) for epoch in epochs] == [sorted(epochs[0])] * 4
    assert sorted(epochs[0]) == sorted(zip(*marked_pairs(model, pairs.split("train")), strict=True))
    assert len(set(epochs)) == 4


def test_what_encodes_text_learns_and_nothing_else(any_model):
    tuned = fine_tune(any_model, planted(), 0, settings=replace(QUICK, epochs=1)).classifier.model
    before = any_model.state_dict()
    changed = {name.split(".")[0] for name, value in tuned.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"text_encoder"} | ({"report_block"} if any_model.config.segments != "none" else set())


def test_a_frozen_encoder_stays_and_its_head_learns(model):
    settings = replace(QUICK, epochs=2, freeze=("text",))
    tuned = fine_tune(model, planted(), 0, settings=settings)
    for name, value in tuned.classifier.model.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
    assert tuned.history["loss"].iloc[1] < tuned.history["loss"].iloc[0]


def test_the_epoch_is_the_first_best_on_validation_and_its_weights_are_kept(model):
    pairs = planted()
    tuned = fine_tune(model, pairs, 0, settings=replace(QUICK, epochs=5, learning_rate=2e-2))
    values = tuned.history["validation accuracy"]
    assert tuned.epoch == int(values.idxmax()) + 1
    assert tuned.history["epoch"].tolist() == [1, 2, 3, 4, 5]
    validation = pairs.split("validation")
    predicted = tuned.classifier.predict(*marked_pairs(model, validation))
    assert (np.array(LABELS)[predicted] == validation["label"]).mean() == values.max()
    assert not tuned.classifier.training


def test_an_early_epoch_is_kept_when_validation_says_so(model):
    """Validation asks the opposite of training: the less is learnt the better, and a later epoch must not be the one kept."""
    pairs = planted()
    turned = pairs.split("validation")["label"].map(lambda label: LABELS[(LABELS.index(label) + 1) % 3]).to_numpy()
    tuned = fine_tune(model, with_labels(pairs, turned, "validation"), 0, settings=QUICK)
    values = tuned.history["validation accuracy"]
    assert values.iloc[-1] < values.max()
    assert tuned.epoch < QUICK.epochs
    premises, hypotheses = marked_pairs(model, pairs.split("validation"))
    assert (np.array(LABELS)[tuned.classifier.predict(premises, hypotheses)] == turned).mean() == values.max()


def test_labels_of_the_test_split_are_not_read(model):
    pairs, settings = planted(), replace(QUICK, epochs=1)
    other = with_labels(pairs, "neutral", "test")
    assert fine_tune(model, pairs, 0, settings=settings).history.equals(
        fine_tune(model, other, 0, settings=settings).history
    )
    words = marked_pairs(model, pairs.split("test"))
    one, two = (fine_tune(model, p, 0, settings=settings).classifier.predict(*words) for p in (pairs, other))
    assert (one == two).all()


def test_precision_follows_the_settings(model, monkeypatch):
    seen = []
    states = PairClassifier.states

    def spy(self, sentences):
        if self.training:
            seen.append(torch.is_autocast_enabled("cpu"))
        return states(self, sentences)

    monkeypatch.setattr(PairClassifier, "states", spy)
    losses = {}
    for precision in ("float32", "bf16"):
        tuned = fine_tune(model, planted(), 0, settings=replace(QUICK, epochs=1, precision=precision))
        losses[precision] = tuned.history["loss"][0]
        assert set(seen) == {precision == "bf16"}
        seen.clear()
    assert losses["bf16"] == pytest.approx(losses["float32"], rel=0.05)


def test_a_loss_that_leaves_the_reals_is_an_error(model):
    settings = replace(QUICK, epochs=3, learning_rate=10.0, max_grad_norm=0.0, encoder_learning_rate_factor=1e30)
    with pytest.raises(NonFiniteLoss, match="lower the learning rate"):
        fine_tune(model, planted(), 0, settings=settings)


@pytest.mark.parametrize(("split", "name"), [("train", "training"), ("validation", "validation")])
def test_fine_tuning_needs_training_and_validation(model, split, name):
    pairs = planted()
    without = replace(pairs, table=pairs.table[pairs.table["split"] != split])
    with pytest.raises(DataError, match=f"has no {name} pairs"):
        fine_tune(model, without)
    with pytest.raises(ValueError, match="reads pair or hypothesis"):
        fine_tune(model, pairs, reads="premise")


@torch.no_grad()
def test_a_batch_of_pairs_is_each_pair_by_itself(any_model, phantom_pairs):
    pairs = phantom_pairs.table.head(20)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier = PairClassifier(any_model).eval()
    premises, hypotheses = marked_pairs(any_model, pairs)
    together = classifier(premises, hypotheses)
    for i in (0, 7, 19):
        torch.testing.assert_close(
            together[i], classifier(premises[i : i + 1], hypotheses[i : i + 1])[0], rtol=1e-4, atol=1e-5
        )
    u, v = (any_model.text_features(any_model.tokenise(words[7:8]))[0] for words in (premises, hypotheses))
    features = torch.cat([u, v, (u - v).abs(), u * v], dim=-1)
    torch.testing.assert_close(together[7:8], classifier.head(features), rtol=1e-4, atol=1e-5)
    assert (classifier.predict(premises, hypotheses, batch_size=3) == together.argmax(dim=-1).numpy()).all()


# -- zero-shot -----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_similarities_are_cosines_of_report_embeddings(any_model, phantom_pairs):
    pairs = phantom_pairs.table.head(9)
    first, second = (any_model.encode_reports(list(pairs[name])).double() for name in ("premise", "hypothesis"))
    np.testing.assert_allclose(similarities(any_model, pairs), (first * second).sum(-1).numpy(), atol=1e-5)
    blind = mean_premise(any_model, pairs)
    distinct = any_model.encode_reports(list(pairs["premise"].unique())).mean(dim=0)
    torch.testing.assert_close(blind, distinct / distinct.norm(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(similarities(any_model, pairs, blind), (second @ blind.double()).numpy(), atol=1e-5)


def test_equal_sentences_are_marked_alike(any_model):
    sentences = ["No edema, with a small nodule.", "Clear.", "No edema, with a small nodule."]
    marked = marked_sentences(any_model, sentences)
    assert marked[0] == marked[2] != marked[1]
    tokens, direct = any_model.tokenise(marked), any_model.tokenise(sentences)
    assert all(torch.equal(tokens[name], direct[name]) for name in tokens)


@pytest.mark.parametrize("seed", range(5))
def test_thresholds_are_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(3, size=25)
    scores = np.round(
        rng.normal(size=25) + 0.5 * (truth == ENTAILMENT) - 0.5 * (truth == CONTRADICTION), 1
    )  # with ties
    cuts = [-np.inf, *np.unique(scores), np.inf]
    best = max((by_thresholds(scores, a, b) == truth).mean() for a in cuts for b in cuts if a <= b)
    low, high = choose_thresholds(scores, truth)
    assert low <= high
    assert (by_thresholds(scores, low, high) == truth).mean() == best


def test_thresholds_of_hand_made_scores():
    scores = np.array([0.0, 0.1, 0.4, 0.6, 0.9])
    truth = np.array([CONTRADICTION, CONTRADICTION, NEUTRAL, NEUTRAL, ENTAILMENT])
    assert choose_thresholds(scores, truth) == pytest.approx((0.25, 0.75))
    assert by_thresholds(np.array([0.25, 0.2, 0.75, -1.0]), 0.25, 0.75).tolist() == [
        NEUTRAL, CONTRADICTION, ENTAILMENT, CONTRADICTION,
    ]  # fmt: skip
    assert choose_thresholds(scores[:2], truth[:2]) == (np.inf, np.inf)
    assert choose_thresholds(scores, np.full(5, ENTAILMENT)) == (-np.inf, -np.inf)
    near = np.array([1.0, np.nextafter(1.0, 2.0)])  # nothing stands between them
    low, high = choose_thresholds(near, np.array([CONTRADICTION, ENTAILMENT]))
    assert by_thresholds(near, low, high).tolist() == [CONTRADICTION, ENTAILMENT]
    with pytest.raises(ValueError, match="there is none"):
        choose_thresholds(scores[:0], truth[:0])


def test_zero_shot_scores_seeds_and_controls(tiny_config, tiny_data, phantom_pairs):
    models = {("tiny", seed): built(tiny_config, tiny_data, "clip", seed) for seed in (0, 1)}
    table = zero_shot_nli(models, phantom_pairs, resamples=200)
    assert list(table.columns) == NLI_COLUMNS
    assert set(table["seeds"]) == {2}
    test = phantom_pairs.split("test")
    judged = test[test["label"] != "neutral"]
    seen = row_of(table, "zero-shot", AUROC)
    by_hand = [auroc((judged["label"] == "entailment").to_numpy(), similarities(m, judged)) for m in models.values()]
    assert seen["value"] == pytest.approx(np.mean(by_hand))
    assert (seen["n"], seen["chance"]) == (len(judged), 0.5)
    assert row_of(table, "zero-shot")["n"] == len(test)
    blind = row_of(table, "zero-shot, mean premise", AUROC)
    assert blind["value"] == pytest.approx(0.5)  # a hypothesis of the phantom stands once under each label
    assert seen["control"] == blind["value"]
    assert row_of(table, "zero-shot, mean premise")["value"] == pytest.approx(1 / 3)
    assert (table["ci_low"] <= table["value"]).all()
    assert (table["value"] <= table["ci_high"]).all()
    assert zero_shot_nli(models, phantom_pairs, resamples=200).equals(table)


def test_thresholds_come_from_validation_alone(model, phantom_pairs, monkeypatch):
    asked = []

    def spy(scores, truth):
        asked.append((scores, truth))
        return choose_thresholds(scores, truth)

    monkeypatch.setattr(nli, "choose_thresholds", spy)
    zero_shot_nli({("tiny", 0): model}, phantom_pairs, resamples=200)
    validation = phantom_pairs.split("validation")
    assert len(asked) == 2
    assert all((truth == [LABELS.index(label) for label in validation["label"]]).all() for _, truth in asked)
    np.testing.assert_array_equal(asked[1][0], similarities(model, validation))


def test_cosines_that_follow_the_label_are_told(model, monkeypatch):
    """With embeddings of our own: hypotheses lie near, beside or opposite their premise."""
    pairs, angles = planted(), {"entailment": 0.2, "neutral": 1.5, "contradiction": 2.9}
    vectors = {}
    for row in pairs.table.assign(hypothesis=pairs.table["pair_id"].map("hypothesis {}".format)).itertuples():
        vectors[tuple(row.hypothesis.split())] = torch.tensor([np.cos(angles[row.label]), np.sin(angles[row.label])])
    pairs = replace(pairs, table=pairs.table.assign(hypothesis=pairs.table["pair_id"].map("hypothesis {}".format)))
    monkeypatch.setattr(
        nli,
        "embed_reports",
        lambda _, words: torch.stack([vectors.get(w, torch.tensor([1.0, 0.0])).float() for w in words]),
    )
    table = zero_shot_nli({("tiny", 0): model}, pairs, resamples=200)
    assert table[table["task"] == "zero-shot"]["value"].tolist() == [1.0, 1.0, 1.0]


# -- metrics -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [3, 2, 1])
def test_metrics_are_scikit_learns_of_every_seed_and_weighting(labels):
    rng = np.random.default_rng(labels)
    truth, predicted = rng.integers(labels, size=40), rng.integers(labels, size=(2, 40))
    weights = np.stack([np.ones(40), rng.integers(3, size=40)])
    found = label_metrics(truth, predicted, weights)
    for b, w in enumerate(weights):
        for s, said in enumerate(predicted):
            f1 = f1_score(truth, said, labels=[0, 1, 2], average="macro", sample_weight=w, zero_division=0)
            assert found["macro F1"][b, s] == pytest.approx(f1)
            assert found["accuracy"][b, s] == pytest.approx(accuracy_score(truth, said, sample_weight=w))


def test_intervals_are_over_groups_and_seeds():
    test = planted().split("test")
    truth = np.array([LABELS.index(label) for label in test["label"]])
    half = np.where(np.arange(len(test)) % 2, truth, (truth + 1) % 3)
    alone, rows = label_rows(half[None], test, 500)[0], label_rows(np.stack([half, truth]), test, 500)[0]
    assert alone["value"] == pytest.approx((half == truth).mean())
    assert rows["value"] == pytest.approx((alone["value"] + 1) / 2)
    assert (alone["seeds"], rows["seeds"]) == (1, 2)
    assert rows["ci_high"] - rows["ci_low"] > alone["ci_high"] - alone["ci_low"]  # seeds differ by a half
    one = label_rows(half[None], test.assign(group="all"), 500)[0]
    assert one["ci_low"] == one["value"] == one["ci_high"]  # a single group gives no interval
    apart = label_rows(half[None], test.assign(group=test["pair_id"]), 500)[0]
    pairs_of_groups = test.assign(group=np.where(half == truth, "right", "wrong"))
    together = label_rows(half[None], pairs_of_groups, 500)[0]
    assert together["ci_high"] - together["ci_low"] > 2 * (apart["ci_high"] - apart["ci_low"])
    assert label_rows(half[None], test, 500)[0] == alone


def test_the_majority_is_that_of_training():
    pairs = with_labels(planted(), "contradiction", "train")
    table = majority_nli(pairs, 200)
    assert set(table["series"]) == {"always contradiction"}
    assert row_of(table, "majority class")["value"] == pytest.approx(1 / 3)
    assert row_of(table, "majority class", "macro F1")["value"] == pytest.approx(1 / 6)
    untrained = with_labels(replace(pairs, table=pairs.table[pairs.table["split"] != "train"]), "neutral", "validation")
    assert set(majority_nli(untrained, 200)["series"]) == {"always neutral"}


@pytest.mark.parametrize("split", ["validation", "test"])
def test_scores_need_validation_and_test(model, split):
    pairs = planted()
    without = replace(pairs, table=pairs.table[pairs.table["split"] != split])
    for score in (zero_shot_nli, fine_tuned_nli):
        with pytest.raises(DataError, match=f"planted has no {split} pairs"):
            score({("tiny", 0): model}, without)
    with pytest.raises(DataError, match=f"planted has no {split} pairs"):
        majority_nli(without)
